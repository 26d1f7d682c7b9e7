package store

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/artifacts/sums"
)

// ReadRun is ReadChunk for the chunks first to end-1, all of them or none: the result is
// their bytes one after the other. With ErrDamaged at least one of them is dropped if
// their hashes say which; if a file cannot be read, ReadChunk finds out which.
func (i *Image) ReadRun(first, end int, buf []byte) ([]byte, error) {
	if err := i.enter(); err != nil {
		return nil, err
	}
	defer i.leave()
	size := 0
	for n := first; n < end; n++ {
		if !i.HasChunk(n) {
			return nil, fmt.Errorf("%w: chunk %d", ErrNotHeld, n)
		}
		size += int(i.m.Chunks[n].Bytes)
	}
	if size == 0 {
		return buf[:0], nil
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	rest := buf
	for _, x := range i.places(first, end) {
		if err := i.t.readAt(i.m.Entries[x.Entry].Path, rest[:x.Bytes], x.Offset); err != nil {
			if passing(err) {
				return nil, fmt.Errorf("read chunks %d to %d: %w", first, end-1, err)
			}
			return nil, fmt.Errorf("%w: chunks %d to %d: %w", ErrDamaged, first, end-1, err)
		}
		rest = rest[x.Bytes:]
	}
	if err := i.compare(first, split(i.m, first, buf)); err != nil {
		return nil, err
	}
	return buf, nil
}

// compare drops those of the chunks from first on of which parts are not the bytes.
func (i *Image) compare(first int, parts [][]byte) (err error) {
	for k, sum := range sums.Of(parts) {
		n, got := first+k, manifest.Digest(sum)
		if want := i.m.Chunks[n].Digest; got != want && !planted.Is("wrong-bytes") {
			err = fmt.Errorf("%w: chunk %d hashes to %s, the manifest says %s", ErrDamaged, n, got.Short(), want.Short())
			i.lose(n, err)
		}
	}
	return err
}
