// Package bundle makes releases out of directories, tar files and OCI images, and
// keeps each in one file.
//
// BuildImage reads a tree and lists it as a manifest. Build does so for every
// variant of a release, signs what it saw as the release's provenance, and
// writes release, manifests and chunks into one .star file. That needs no
// swarm, no network and no owner's key: publishing adds the owner's metadata
// later, with SetMetadata, and then the file on a USB stick is all that a robot
// needs.
//
// Two builds of equal trees give equal bytes: modification times, owners and
// the umask leave no trace, nothing is stamped with a clock, and each chunk is
// stored once, in the order in which the variants first need it.
//
// What a bundle says is only worth what signs it. Open proves that the file is
// whole and agrees with itself; that its release may run is for the metadata to
// prove, and ReadChunk checks every chunk against the manifest again, because a
// stick can go bad after Open. Packs that lead to the release may come along; they
// are only ever a short cut, so that a bad one leaves the rest of the bundle good.
//
//	release, err := bundle.Build(ctx, spec, key, "nav-1.5.0.star", nil)
//	b, err := bundle.Open("nav-1.5.0.star")
//	defer b.Close()
//	m, err := b.Manifest(b.Release().For(labels).Manifest)
//	for _, c := range m.Chunks {
//		data, err := b.ReadChunk(c)
//	}
package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

var (
	// ErrNotBundle is returned by Open for a file that is no bundle at all. Name
	// another file.
	ErrNotBundle = errors.New("bundle: not a .star file")
	// ErrNotHeld is returned for a manifest or chunk that is not in the bundle.
	// Look for it elsewhere.
	ErrNotHeld = errors.New("bundle: not in this bundle")
)

// DamagedError reports bytes of a bundle that are not what its index, release or
// manifest promises. Copy the file again, or build it again.
type DamagedError struct {
	Path string // of the file
	Part string // "index", "manifest 9f86d081884c", "chunk 60303ae22b99", …
	Err  error  // what is wrong with it
}

// Error names the file, the part and what to do.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("bundle %s is damaged: %s: %v; copy the file again from where it was built", e.Path, e.Part, e.Err)
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// A Bundle is an open .star file. It holds the index in memory and reads the
// rest when asked. It may be used by several goroutines at once, until Close.
type Bundle struct {
	path       string
	file       *os.File
	header     header
	index      index
	release    *manifest.Release
	provenance *Provenance
	builder    envelope.Key
	manifests  map[manifest.Digest]span
	chunks     map[manifest.Digest]span
	packs      []*Pack
}

// decoder unpacks chunks of all bundles; none may grow beyond the largest chunk.
// It has no goroutine and nothing to close.
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(manifest.MaxChunkBytes))
})

// A span is where a part lies in the file.
type span struct {
	offset int64
	stored int64  // length in the file
	bytes  uint32 // length of a chunk; more than stored if that is compressed
}

// Open opens the bundle at path and verifies its form, release, the signature of
// the provenance and the digests of all manifests. Chunks are verified when read.
// Errors wrap ErrNotBundle, canonical.ErrFuture or a *DamagedError, or are those
// of the file system.
func Open(path string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	b := &Bundle{path: path, file: f}
	if err := b.load(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// load reads everything but the chunks.
func (b *Bundle) load() error {
	var err error
	if b.header, b.index, err = readIndex(b.file, b.path); err != nil {
		return err
	}
	if b.release, err = manifest.DecodeRelease(b.index.Release); err != nil {
		return b.damaged("release", err)
	}
	if manifest.Sum(b.index.Provenance) != b.release.Provenance {
		return b.damaged("provenance", errors.New("it is not the one that the release names"))
	}
	if b.provenance, b.builder, err = openProvenance(b.index.Provenance, b.release); err != nil {
		return b.damaged("provenance", err)
	}
	return b.locate()
}

// locate finds each manifest and chunk. Neither has an offset in the file: they
// stand in the order in which the variants first need them.
func (b *Bundle) locate() error {
	b.manifests, b.chunks = map[manifest.Digest]span{}, map[manifest.Digest]span{}
	stored := int64(0)
	for _, n := range b.index.Stored {
		stored += int64(n)
	}
	chunksAt, manifestsAt := int64(headerBytes), headerBytes+stored
	if b.index.Format <= packsFormat {
		manifestsAt = headerBytes
	}
	at := b.locateManifests(manifestsAt)
	if b.index.Format <= packsFormat {
		chunksAt, at = at, at+stored
	}
	if end := headerBytes + int64(b.header.data); at > end {
		return b.damaged("data", fmt.Errorf("it has %d bytes, its chunks and manifests need %d", b.header.data, at-headerBytes))
	}
	for _, v := range b.release.Variants {
		m, err := b.Manifest(v.Manifest)
		if err != nil {
			return err
		}
		if uint64(m.Bytes()) != v.Bytes {
			return b.damaged("variant "+v.Name, fmt.Errorf("the release promises %d bytes, the manifest %d", v.Bytes, m.Bytes()))
		}
		if chunksAt, err = b.locateChunks(m, chunksAt); err != nil {
			return err
		}
	}
	if at = b.locatePacks(at); at != headerBytes+int64(b.header.data) || len(b.chunks) != len(b.index.Stored) {
		return b.damaged("data", fmt.Errorf("it holds %d chunks in %d bytes, the manifests need %d chunks, with %d packs in %d bytes",
			len(b.index.Stored), b.header.data, len(b.chunks), len(b.packs), at-headerBytes))
	}
	return nil
}

// locateManifests finds the manifests, the first of which lies at the given offset, and
// returns where the last one ends.
func (b *Bundle) locateManifests(at int64) int64 {
	for _, v := range b.release.Variants {
		if _, ok := b.manifests[v.Manifest]; !ok {
			b.manifests[v.Manifest] = span{offset: at, stored: int64(v.ManifestBytes)}
			at += int64(v.ManifestBytes)
		}
	}
	return at
}

// locateChunks adds the chunks of m that no earlier variant brought; the first of
// them lies at the given offset. It returns where the next one lies.
func (b *Bundle) locateChunks(m *manifest.Manifest, at int64) (int64, error) {
	for _, c := range m.Chunks {
		if s, ok := b.chunks[c.Digest]; ok {
			if s.bytes != c.Bytes {
				return 0, b.damaged("chunk "+c.Digest.Short(), fmt.Errorf("listed with %d bytes and with %d", s.bytes, c.Bytes))
			}
			continue
		}
		i := len(b.chunks)
		if i >= len(b.index.Stored) {
			return 0, b.damaged("data", fmt.Errorf("it holds only %d chunks", i))
		}
		stored := b.index.Stored[i]
		if stored == 0 || stored > c.Bytes {
			return 0, b.damaged("chunk "+c.Digest.Short(), fmt.Errorf("stored in %d bytes, its length is %d", stored, c.Bytes))
		}
		b.chunks[c.Digest] = span{offset: at, stored: int64(stored), bytes: c.Bytes}
		at += int64(stored)
	}
	return at, nil
}

func (b *Bundle) damaged(part string, err error) error {
	return &DamagedError{Path: b.path, Part: part, Err: err}
}

// Release is what the bundle holds. The caller does not change it.
func (b *Bundle) Release() *manifest.Release { return b.release }

// ReleaseBytes is the encoded release, as TUF targets list it.
func (b *Bundle) ReleaseBytes() []byte { return bytes.Clone(b.index.Release) }

// Provenance is the builder's statement about the release, and the key that
// signed it. Whether that builder is trusted is the caller's question.
func (b *Bundle) Provenance() (*Provenance, envelope.Key) { return b.provenance, b.builder }

// Metadata is what publishing put in, nil before.
func (b *Bundle) Metadata() []byte {
	if len(b.index.Metadata) == 0 {
		return nil
	}
	return bytes.Clone(b.index.Metadata)
}

// Manifest reads the manifest with digest d. It returns ErrNotHeld if no variant
// names it, and a *DamagedError if it is not whole.
func (b *Bundle) Manifest(d manifest.Digest) (*manifest.Manifest, error) {
	s, ok := b.manifests[d]
	if !ok {
		return nil, fmt.Errorf("%w: manifest %s", ErrNotHeld, d)
	}
	data := make([]byte, s.stored)
	if _, err := b.file.ReadAt(data, s.offset); err != nil {
		return nil, b.unread("manifest "+d.Short(), err)
	}
	if manifest.Sum(data) != d {
		return nil, b.damaged("manifest "+d.Short(), manifest.ErrDigest)
	}
	m, err := manifest.Decode(data)
	if err != nil {
		return nil, b.damaged("manifest "+d.Short(), err)
	}
	return m, nil
}

// unread is the error for a part that could not be read: an end of file means
// that the file was cut after Open.
func (b *Bundle) unread(part string, err error) error {
	if errors.Is(err, io.EOF) {
		return b.damaged(part, err)
	}
	return fmt.Errorf("read %s of bundle %s: %w", part, b.path, err)
}

// ReadChunk returns the bytes of c, decompressed and verified. It returns
// ErrNotHeld if no manifest lists c, and a *DamagedError if the bytes are wrong.
func (b *Bundle) ReadChunk(c manifest.Chunk) ([]byte, error) {
	s, ok := b.chunks[c.Digest]
	if !ok || s.bytes != c.Bytes {
		return nil, fmt.Errorf("%w: chunk %s of %d bytes", ErrNotHeld, c.Digest, c.Bytes)
	}
	part := "chunk " + c.Digest.Short()
	data := make([]byte, s.stored)
	if _, err := b.file.ReadAt(data, s.offset); err != nil {
		return nil, b.unread(part, err)
	}
	if s.stored < int64(s.bytes) {
		d, err := decoder()
		if err != nil {
			return nil, fmt.Errorf("read %s of bundle %s: %w", part, b.path, err)
		}
		if data, err = d.DecodeAll(data, make([]byte, 0, s.bytes)); err != nil {
			return nil, b.damaged(part, err)
		}
	}
	if manifest.Sum(data) != c.Digest {
		return nil, b.damaged(part, manifest.ErrDigest)
	}
	return data, nil
}

// Verify reads every chunk and every pack and returns the first that is damaged, or
// the cause of ctx's end.
func (b *Bundle) Verify(ctx context.Context) error {
	done := make(map[manifest.Digest]bool, len(b.chunks))
	for _, v := range b.release.Variants {
		m, err := b.Manifest(v.Manifest)
		if err != nil {
			return err
		}
		for _, c := range m.Chunks {
			if done[c.Digest] {
				continue
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := b.ReadChunk(c); err != nil {
				return err
			}
			done[c.Digest] = true
		}
	}
	return b.verifyPacks(ctx)
}

// Close frees the file. A second call does nothing.
func (b *Bundle) Close() error {
	if err := b.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close bundle %s: %w", b.path, err)
	}
	return nil
}
