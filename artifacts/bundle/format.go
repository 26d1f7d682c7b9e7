package bundle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A .star file is
//
//	header   56 bytes: "STAR", format (4 bytes), length of the data (8), length
//	         of the index (8), SHA-256 of the index (32); big-endian
//	data     the chunks, then the manifests, each once, in the order in which the
//	         release's variants first need them, then the packs; no gaps
//	index    deterministic CBOR
//
// and nothing else. The lengths of manifests stand in the release, those of
// chunks and packs in the index, and their order gives the offsets: there is one
// file for one release, provenance, set of metadata and list of packs.
//
// So it can be written as the images are read, once. In formats 1 (without packs) and
// 2 (with packs), which are read but not written, the manifests stand before the chunks.

const (
	// Format is the bundle format that this build writes, and the newest it reads.
	Format = 3
	// MaxMetadataBytes bounds the metadata that SetMetadata takes.
	MaxMetadataBytes = 1 << 20
	// MaxChunks bounds the different chunks of one bundle: about 64 GiB.
	MaxChunks = 1 << 20

	plainFormat, packsFormat = 1, 2 // older ones

	magic       = "STAR"
	headerBytes = 56
	// maxIndexBytes holds MaxChunks lengths of 5 bytes, the metadata, and the
	// release and provenance many times over.
	maxIndexBytes = 8 << 20
)

// header is the fixed start of the file, after magic.
type header struct {
	format      uint32
	data, index uint64 // lengths
	digest      manifest.Digest
}

// index is all of a bundle but manifests and chunks.
type index struct {
	Format     uint   `cbor:"0,keyasint"`
	Release    []byte `cbor:"1,keyasint"` // encoded manifest.Release
	Provenance []byte `cbor:"2,keyasint"` // envelope; its Sum is Release.Provenance
	// Stored is the length in the file of each chunk, in the file's order, at most
	// MaxChunks. A chunk stored in fewer bytes than it has is one zstd frame.
	Stored   []uint32 `cbor:"3,keyasint"`
	Metadata []byte   `cbor:"4,keyasint"` // opaque; empty before publishing
	// Packs are in the file's order, at most MaxPacks.
	Packs []packEntry `cbor:"5,keyasint,omitempty"`
}

func (h *header) encode() []byte {
	b := append(make([]byte, 0, headerBytes), magic...)
	b = binary.BigEndian.AppendUint32(b, h.format)
	b = binary.BigEndian.AppendUint64(b, h.data)
	b = binary.BigEndian.AppendUint64(b, h.index)
	return append(b, h.digest[:]...)
}

// readHeader reads the header from the start of f and holds it against the length
// of the file.
func readHeader(f *os.File, path string) (header, error) {
	var h header
	b := make([]byte, headerBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("read bundle %s: %w", path, err)
	}
	if n < len(magic) || string(b[:len(magic)]) != magic {
		return h, fmt.Errorf("%w: %s does not start with %q; starling release build makes one", ErrNotBundle, path, magic)
	}
	if n < headerBytes {
		return h, &DamagedError{path, "header", fmt.Errorf("the file ends after %d bytes", n)}
	}
	h.format = binary.BigEndian.Uint32(b[4:])
	if h.format > Format {
		return h, fmt.Errorf("bundle %s: %w: format %d, this build reads up to %d; update starling", path, canonical.ErrFuture, h.format, Format)
	}
	h.data, h.index = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	copy(h.digest[:], b[24:])
	info, err := f.Stat()
	if err != nil {
		return h, fmt.Errorf("read bundle %s: %w", path, err)
	}
	size := uint64(info.Size())
	switch {
	case h.format == 0:
		return h, &DamagedError{path, "header", errors.New("format 0")}
	case h.index > maxIndexBytes:
		return h, &DamagedError{path, "header", fmt.Errorf("an index of %d bytes, the limit is %d", h.index, maxIndexBytes)}
	case h.data > size || size-h.data != h.index+headerBytes:
		return h, &DamagedError{path, "length", fmt.Errorf("the file has %d bytes, its header asks for %d + %d + %d", size, headerBytes, h.data, h.index)}
	}
	return h, nil
}

// readIndex reads and checks header and index.
func readIndex(f *os.File, path string) (header, index, error) {
	h, err := readHeader(f, path)
	if err != nil {
		return h, index{}, err
	}
	b := make([]byte, h.index)
	if _, err := f.ReadAt(b, headerBytes+int64(h.data)); err != nil {
		return h, index{}, fmt.Errorf("read bundle %s: %w", path, err)
	}
	if manifest.Sum(b) != h.digest {
		return h, index{}, &DamagedError{path, "index", manifest.ErrDigest}
	}
	var x index
	if err := canonical.DecodeFormat(b, maxIndexBytes, "index", Format, &x); err != nil {
		return h, index{}, &DamagedError{path, "index", err}
	}
	if len(x.Metadata) > MaxMetadataBytes || len(x.Provenance) > envelope.MaxBytes(envelope.Builder) || len(x.Stored) > MaxChunks {
		return h, index{}, &DamagedError{path, "index", canonical.ErrTooLarge}
	}
	if uint64(x.Format) != uint64(h.format) {
		return h, index{}, &DamagedError{path, "index", fmt.Errorf("format %d in a file of format %d", x.Format, h.format)}
	}
	if err := x.checkPacks(h); err != nil {
		return h, index{}, &DamagedError{path, "index", err}
	}
	return h, x, nil
}

// finish writes the index behind the data that f already holds, and the header in
// front of it. The position of f is at the end of the data.
func finish(f *os.File, data uint64, x *index) error {
	b := canonical.Encode(x)
	if len(b) > maxIndexBytes {
		return fmt.Errorf("index: %w: %d bytes, the limit is %d", canonical.ErrTooLarge, len(b), maxIndexBytes)
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	h := header{format: uint32(x.Format), data: data, index: uint64(len(b)), digest: manifest.Sum(b)}
	_, err := f.WriteAt(h.encode(), 0)
	return err
}
