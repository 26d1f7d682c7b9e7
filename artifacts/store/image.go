package store

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// Manifest is what the image is to hold. It must not be changed.
func (i *Image) Manifest() *manifest.Manifest { return i.m }

// Digest names the image: it is Manifest().Digest(), computed once.
func (i *Image) Digest() manifest.Digest { return i.digest }

// Dir is where the tree lies, as Config named it.
func (i *Image) Dir() string { return i.t.dir }

// HasChunk reports whether chunk n of Manifest.Chunks is held.
func (i *Image) HasChunk(n int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ledger.has(n)
}

// Have returns the pieces of which every chunk is held, indexed as
// Manifest.Pieces(). The caller owns the result.
func (i *Image) Have() manifest.Bitmap {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ledger.have.Clone()
}

// Missing returns how many chunks are not held, and their length together.
func (i *Image) Missing() (chunks int, bytes int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ledger.chunks, i.ledger.bytes
}

// Complete reports whether every chunk is held. Links, modes and empty files are
// Seal's.
func (i *Image) Complete() bool {
	chunks, _ := i.Missing()
	return chunks == 0
}

// Sealed reports whether Seal has succeeded, in this process or an earlier one,
// and nothing damaged was found since.
func (i *Image) Sealed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sealed
}

// ReadChunk reads chunk n and proves it. The result is buf's memory if buf has
// the capacity. Without the chunk it returns ErrNotHeld. Damaged bytes are
// never returned: the chunk is dropped from what is held, the image counts as
// not sealed, and the error is ErrDamaged. Other errors (no free file
// descriptor, say) change nothing.
func (i *Image) ReadChunk(n int, buf []byte) ([]byte, error) {
	if err := i.enter(); err != nil {
		return nil, err
	}
	defer i.leave()
	if !i.HasChunk(n) {
		return nil, fmt.Errorf("%w: chunk %d", ErrNotHeld, n)
	}
	data, err := i.load(n, buf)
	if errors.Is(err, ErrDamaged) {
		i.lose(n, err)
	}
	return data, err
}

// lose drops a chunk found damaged. A seal that breaks is journaled at once,
// for it would be believed after a restart.
func (i *Image) lose(n int, cause error) {
	i.mu.Lock()
	dropped := i.ledger.drop(n)
	broken := i.sealed
	i.sealed = false
	i.unsaved = i.unsaved || dropped || broken
	i.mu.Unlock()
	if dropped {
		i.log.Warn("chunk damaged", "chunk", n, "path", i.t.dir, "err", cause)
	}
	if broken && !i.readOnly {
		if err := i.flush(); err != nil {
			i.log.Error("broken seal not journaled: it will count as sealed after a restart until it is read", "path", i.t.dir, "err", err)
		}
	}
}

// CopyFrom copies the chunks that are missing here and held by old, an installed
// image say, wherever they stand in either. Each is proven on the way; those
// that are damaged in old are passed over. It returns how many were copied, and
// their length together, also with an error. An image may copy from itself:
// that fills places whose bytes it already holds at others. On a file system that can,
// files that stay are not copied but share their blocks with old's. Close ends it.
func (i *Image) CopyFrom(old *Image) (chunks int, bytes int64, err error) {
	if err := i.enter(); err != nil {
		return 0, 0, err
	}
	defer i.leave()
	places := map[manifest.Digest][]int{}
	for n := range i.m.Chunks {
		if !i.HasChunk(n) {
			places[i.m.Chunks[n].Digest] = nil
		}
	}
	for k := range old.m.Chunks {
		if d := old.m.Chunks[k].Digest; old.HasChunk(k) {
			if from, wanted := places[d]; wanted {
				places[d] = append(from, k)
			}
		}
	}
	buf := make([]byte, manifest.MaxChunkBytes)
	cloned := i.cloneFiles(old)
	for n := range i.m.Chunks {
		from := places[i.m.Chunks[n].Digest]
		if len(from) == 0 || i.HasChunk(n) {
			continue
		}
		if i.adopt(n, cloned, buf) {
			chunks++
			bytes += int64(i.m.Chunks[n].Bytes)
			continue
		}
		data, err := readAny(old, from, buf)
		if errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotHeld) {
			continue
		}
		if err == nil {
			err = i.WriteChunk(n, data)
		}
		if err != nil {
			return chunks, bytes, fmt.Errorf("copy from installed image: %w", err)
		}
		chunks++
		bytes += int64(len(data))
	}
	return chunks, bytes, nil
}

// readAny returns the first of these equal chunks that is whole.
func readAny(old *Image, equal []int, buf []byte) (data []byte, err error) {
	for _, k := range equal {
		data, err = old.ReadChunk(k, buf)
		if err == nil || !(errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotHeld)) {
			return data, err
		}
	}
	return nil, err
}
