package store

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/artifacts/sums"
)

// WriteChunk hashes data, and if it is chunk n, writes it at its places in the
// tree; data is not kept. Wrong bytes are a *DigestError and nothing is written.
// A chunk that is held already is not written again. ErrFull means that the disk
// is full. A flush that is due happens first, and its error is returned: then
// the chunk is not written.
func (i *Image) WriteChunk(n int, data []byte) error {
	_, err := i.write(n, [][]byte{data}, data)
	return err
}

// WriteRun is WriteChunk for chunks that follow each other, which costs less than one
// after the other: data is the bytes of chunk first, of the next, and so on. It returns
// how many of them are held now. A *DigestError speaks of the one after these; if the
// disk fails, those before may not be held either.
func (i *Image) WriteRun(first int, data []byte) (held int, err error) {
	return i.write(first, split(i.m, first, data), data)
}

// split cuts the bytes of a run into chunks. What is left over at the end is a part of
// its own, and so are no bytes.
func split(m *manifest.Manifest, first int, data []byte) (parts [][]byte) {
	for n := first; n >= 0 && n < len(m.Chunks) && len(data) > int(m.Chunks[n].Bytes); n++ {
		parts, data = append(parts, data[:m.Chunks[n].Bytes]), data[m.Chunks[n].Bytes:]
	}
	return append(parts, data)
}

// write writes parts, which together are data, as the chunks from first on.
func (i *Image) write(first int, parts [][]byte, data []byte) (held int, err error) {
	if err := i.enter(); err != nil {
		return 0, err
	}
	defer i.leave()
	switch {
	case i.readOnly:
		return 0, ErrReadOnly
	case first < 0 || first+len(parts) > len(i.m.Chunks):
		return 0, fmt.Errorf("%w: chunks %d to %d of %d", ErrNoChunk, first, first+len(parts)-1, len(i.m.Chunks))
	}
	right, wrong := i.prove(first, parts)
	if right > 0 && i.flushDue() {
		if err := i.flush(); err != nil {
			return 0, err
		}
	}
	for k := 0; k < right; {
		end, bytes := k, 0
		for ; end < right && !i.HasChunk(first+end); end++ {
			bytes += len(parts[end])
		}
		if end == k { // held
			k, data = k+1, data[len(parts[k]):]
			continue
		}
		if err := i.writeChunks(first+k, first+end, data[:bytes]); err != nil {
			return k, err
		}
		k, data = end, data[bytes:]
	}
	return right, wrong
}

// prove returns how many of the parts are the chunks from first on, and why the next
// one is not.
func (i *Image) prove(first int, parts [][]byte) (right int, err error) {
	for k, got := range sums.Of(parts) {
		want := i.m.Chunks[first+k]
		if (got != want.Digest || len(parts[k]) != int(want.Bytes)) && !planted.Is("wrong-bytes") {
			return k, &DigestError{Chunk: first + k, Want: want.Digest, Got: got}
		}
	}
	return len(parts), nil
}

// writeChunks writes the chunks first to end-1, of which data is the bytes.
func (i *Image) writeChunks(first, end int, data []byte) error {
	for _, x := range i.places(first, end) {
		if err := i.writeExtent(x, data[:x.Bytes]); err != nil {
			return full(fmt.Errorf("write chunks %d to %d: %w", first, end-1, err))
		}
		data = data[x.Bytes:]
	}
	for n := first; n < end; n++ {
		i.written(n)
	}
	return nil
}

// places is where the bytes of the chunks first to end-1 lie, in order: one extent for a
// file, for a chunk goes on where the one before ended.
func (i *Image) places(first, end int) (out []manifest.Extent) {
	for n := first; n < end; n++ {
		for _, x := range i.layout.Extents(n) {
			if k := len(out) - 1; k >= 0 && out[k].Entry == x.Entry {
				out[k].Bytes += x.Bytes
				continue
			}
			out = append(out, x)
		}
	}
	return out
}

// writeExtent writes data at x. If something is in the way, or write permission
// was taken off by an earlier Seal, it puts the entry right and tries once more.
func (i *Image) writeExtent(x manifest.Extent, data []byte) error {
	entry := &i.m.Entries[x.Entry]
	err := i.t.writeAt(entry.Path, int64(entry.Bytes), data, x.Offset)
	if err == nil || !inTheWay(err) {
		return err
	}
	i.log.Warn("file in the slot was changed, making it anew", "path", entry.Path, "err", err)
	if err := i.restore(x.Entry); err != nil {
		return err
	}
	return i.t.writeAt(entry.Path, int64(entry.Bytes), data, x.Offset)
}

// inTheWay reports whether err comes from a tree that is not as prepared.
func inTheWay(err error) bool {
	for _, e := range []error{errKind, errShort, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EISDIR, unix.EACCES, unix.EPERM, unix.ENXIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// written notes that the bytes of chunk n are in the files, though not synced.
func (i *Image) written(n int) {
	extents := i.layout.Extents(n)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ledger.add(n)
	i.unsaved = true
	for _, x := range extents {
		i.dirty[x.Entry] = struct{}{}
	}
	if _, ok := i.pending[n]; !ok {
		i.pending[n] = struct{}{}
		i.unflushed += int64(i.m.Chunks[n].Bytes)
	}
}
