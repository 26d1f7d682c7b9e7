// Package manifest holds the vocabulary of images: what bytes a robot is to
// have, cut into parts that can be proven one by one.
//
// An image is a tree of files, directories and symbolic links; a single file is
// a tree of one. The contents of its files, one after the other in the order
// of the entries, are the image's stream. The stream is cut by content into
// chunks (the unit of proof, deduplication and resume), and runs of chunks are
// pieces (the unit of asking, having and scheduling). A Manifest lists all
// of it, and its digest, which a signed Release names, therefore proves every
// byte, name, mode and link target of the image.
//
// Everything here is data: no file is opened and nothing is fetched.
package manifest

import (
	"errors"
	"fmt"
	"path"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/starling-swarm/starling/artifacts/canonical"
)

const (
	// Format is the newest manifest format this build reads and writes.
	Format = 1
	// MaxBytes bounds an encoded manifest: about 60 GiB of image.
	MaxBytes = 64 << 20

	// MinChunkBytes, AverageChunkBytes and MaxChunkBytes are the parameters
	// of the content-defined cut. Readers enforce only the maximum.
	MinChunkBytes     = 16 << 10
	AverageChunkBytes = 64 << 10
	MaxChunkBytes     = 256 << 10

	// MinPieceBytes and MaxPieceBytes bound a piece: small enough to be
	// passed on quickly, and few enough that a have-bitmap fits 512 bytes for
	// images up to 16 GiB.
	MinPieceBytes = 128 << 10
	MaxPieceBytes = 4 << 20
	// TargetPieces is how many pieces an image is cut into between those bounds.
	TargetPieces = 512
	// MaxPieces bounds the pieces of one image, so that a have-bitmap fits 2 KiB:
	// 64 GiB in pieces of MaxPieceBytes.
	MaxPieces = 1 << 14
	// MaxPieceChunks bounds the chunks of one piece, so that a bitmap of them
	// fits 2 KiB too. Chunks of MinChunkBytes need a 64th of it.
	MaxPieceChunks = 1 << 14

	// MaxPathBytes bounds the path of an entry and the target of a link.
	MaxPathBytes = 1024
	// MaxNameBytes bounds each part of a path, as file systems do.
	MaxNameBytes = 255
	// MaxEntries bounds the entries of one image.
	MaxEntries = 1 << 18
)

// ErrInvalid is wrapped by every complaint of Manifest.Check.
var ErrInvalid = errors.New("manifest: invalid")

// A Chunk is a run of the image's stream.
type Chunk struct {
	_      struct{} `cbor:",toarray"`
	Digest Digest   // of the uncompressed bytes
	Bytes  uint32   // length, 1 to MaxChunkBytes
}

// Kind says what an Entry is.
type Kind uint8

// The kinds of entries. Others cannot be expressed, so an image holds no device
// file and no socket.
const (
	File Kind = 1
	Dir  Kind = 2
	Link Kind = 3
)

// An Entry is one name in the image's tree.
type Entry struct {
	_ struct{} `cbor:",toarray"`
	// Path is relative, slash-separated and clean. Entries are sorted by it,
	// bytewise, and each directory is listed before what it holds.
	Path string
	Kind Kind
	// Mode holds permission bits, 0o755 at most: what others may write, set-id
	// and sticky bits cannot be expressed. Zero for a link.
	Mode uint16
	// Bytes is the length of a file; zero for others.
	Bytes uint64
	// Target is where a link points: relative, clean, and inside the tree.
	Target string
}

// A Manifest lists an image. Its zero value is not valid; see Check.
type Manifest struct {
	Format uint `cbor:"0,keyasint"`
	// PieceBytes is the size that pieces are cut to; see Pieces.
	PieceBytes uint32 `cbor:"1,keyasint"`
	// Entries is the tree, sorted by path.
	Entries []Entry `cbor:"2,keyasint"`
	// Chunks covers the stream without gaps, in order.
	Chunks []Chunk `cbor:"3,keyasint"`
}

// A Piece is a run of chunks, asked for and announced as one.
type Piece struct {
	First, Count int   // chunks First to First+Count-1
	Offset       int64 // of its first byte in the stream
	Bytes        int64
}

// An Extent is a run of a chunk's bytes inside one file.
type Extent struct {
	Entry  int   // index in Manifest.Entries
	Offset int64 // in that file
	Bytes  int64
}

// PieceBytesFor is the piece size for an image of the given length:
// clamp(size/512, 128 KiB, 4 MiB). Up to 64 GiB that makes at most MaxPieces.
func PieceBytesFor(size int64) uint32 {
	return uint32(min(max(size/TargetPieces, MinPieceBytes), MaxPieceBytes))
}

// Encode returns the manifest's bytes; Sum of them is its digest.
func (m *Manifest) Encode() []byte { return canonical.Encode(m) }

// Digest names the image.
func (m *Manifest) Digest() Digest { return Sum(m.Encode()) }

// Decode parses and checks a manifest. It is the only way in for bytes from
// outside.
func Decode(data []byte) (*Manifest, error) {
	var m Manifest
	if err := canonical.DecodeFormat(data, MaxBytes, "manifest", Format, &m); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return &m, nil
}

// Bytes is the length of the image's stream.
func (m *Manifest) Bytes() int64 {
	var n int64
	for _, c := range m.Chunks {
		n += int64(c.Bytes)
	}
	return n
}

// Pieces cuts the chunks into pieces: a piece ends with the chunk that brings
// it to PieceBytes or more. The result is in stream order and covers all chunks.
func (m *Manifest) Pieces() []Piece {
	var out []Piece
	p := Piece{}
	for i, c := range m.Chunks {
		p.Count++
		p.Bytes += int64(c.Bytes)
		if p.Bytes >= int64(m.PieceBytes) || i == len(m.Chunks)-1 {
			out = append(out, p)
			p = Piece{First: i + 1, Offset: p.Offset + p.Bytes}
		}
	}
	return out
}

// Layout finds where chunks lie in the tree. Build it once per manifest.
type Layout struct {
	m      *Manifest
	chunks []int64 // offset of each chunk in the stream
	files  []int64 // offset of each file entry in the stream, -1 for other kinds
	order  []int   // indexes of non-empty file entries, in stream order
}

// NewLayout computes the offsets of m, which must have passed Check.
func NewLayout(m *Manifest) *Layout {
	l := &Layout{m: m, chunks: make([]int64, len(m.Chunks)), files: make([]int64, len(m.Entries))}
	var at int64
	for i, c := range m.Chunks {
		l.chunks[i] = at
		at += int64(c.Bytes)
	}
	at = 0
	for i, e := range m.Entries {
		l.files[i] = -1
		if e.Kind == File {
			l.files[i] = at
			at += int64(e.Bytes)
			if e.Bytes > 0 {
				l.order = append(l.order, i)
			}
		}
	}
	return l
}

// Offset is where chunk i starts in the stream.
func (l *Layout) Offset(i int) int64 { return l.chunks[i] }

// Extents returns where the bytes of chunk i lie, in order; their lengths sum
// to the chunk's.
func (l *Layout) Extents(i int) []Extent {
	from, left := l.chunks[i], int64(l.m.Chunks[i].Bytes)
	k := sort.Search(len(l.order), func(k int) bool { return l.files[l.order[k]] > from }) - 1
	var out []Extent
	for ; left > 0; k++ {
		e := l.order[k]
		in := from - l.files[e]
		n := min(left, int64(l.m.Entries[e].Bytes)-in)
		out = append(out, Extent{Entry: e, Offset: in, Bytes: n})
		from, left = from+n, left-n
	}
	return out
}

// Check reports the first thing that makes m unusable: a path that leaves the
// tree, an order or a sum that is off, a number out of range. Errors wrap
// ErrInvalid.
func (m *Manifest) Check() error {
	if m.Format != Format {
		return fmt.Errorf("%w: format %d", ErrInvalid, m.Format)
	}
	if m.PieceBytes < MinPieceBytes || m.PieceBytes > MaxPieceBytes {
		return fmt.Errorf("%w: pieces of %d bytes, want %d to %d", ErrInvalid, m.PieceBytes, MinPieceBytes, MaxPieceBytes)
	}
	if len(m.Entries) == 0 || len(m.Entries) > MaxEntries {
		return fmt.Errorf("%w: %d entries, want 1 to %d", ErrInvalid, len(m.Entries), MaxEntries)
	}
	var stream uint64
	for i, c := range m.Chunks {
		if c.Bytes == 0 || c.Bytes > MaxChunkBytes {
			return fmt.Errorf("%w: chunk %d has %d bytes, want 1 to %d", ErrInvalid, i, c.Bytes, MaxChunkBytes)
		}
		stream += uint64(c.Bytes)
	}
	if err := m.checkPieces(); err != nil {
		return err
	}
	files, err := m.checkEntries(stream)
	if err != nil {
		return err
	}
	if files != stream {
		return fmt.Errorf("%w: files hold %d bytes, chunks %d", ErrInvalid, files, stream)
	}
	return nil
}

// checkPieces bounds what bitmaps of pieces, and of a piece's chunks, must hold.
func (m *Manifest) checkPieces() error {
	pieces := m.Pieces()
	if len(pieces) > MaxPieces {
		return fmt.Errorf("%w: %d pieces of %d bytes, the limit is %d: a smaller image, or larger pieces", ErrInvalid, len(pieces), m.PieceBytes, MaxPieces)
	}
	for i, p := range pieces {
		if p.Count > MaxPieceChunks {
			return fmt.Errorf("%w: piece %d has %d chunks, the limit is %d", ErrInvalid, i, p.Count, MaxPieceChunks)
		}
	}
	return nil
}

// checkEntries walks the tree and returns the sum of its files' lengths.
func (m *Manifest) checkEntries(stream uint64) (uint64, error) {
	dirs := map[string]bool{".": true}
	var files uint64
	for i, e := range m.Entries {
		if err := checkPath(e.Path); err != nil {
			return 0, fmt.Errorf("%w: entry %d: %v", ErrInvalid, i, err)
		}
		if i > 0 && e.Path <= m.Entries[i-1].Path {
			return 0, fmt.Errorf("%w: entry %q is out of order", ErrInvalid, e.Path)
		}
		if !dirs[path.Dir(e.Path)] {
			return 0, fmt.Errorf("%w: entry %q is in no listed directory", ErrInvalid, e.Path)
		}
		if e.Mode&^0o755 != 0 || (e.Kind != File && e.Bytes != 0) || (e.Kind != Link && e.Target != "") {
			return 0, fmt.Errorf("%w: entry %q has a mode, length or target that its kind cannot have", ErrInvalid, e.Path)
		}
		switch e.Kind {
		case File:
			if e.Bytes > stream-files {
				return 0, fmt.Errorf("%w: files hold more than the %d bytes of the chunks", ErrInvalid, stream)
			}
			files += e.Bytes
		case Dir:
			dirs[e.Path] = true
		case Link:
			if err := checkTarget(e.Path, e.Target); err != nil || e.Mode != 0 {
				return 0, fmt.Errorf("%w: link %q to %q leaves the tree or is not clean", ErrInvalid, e.Path, e.Target)
			}
		default:
			return 0, fmt.Errorf("%w: entry %q has unknown kind %d", ErrInvalid, e.Path, e.Kind)
		}
	}
	return files, nil
}

func checkPath(p string) error {
	switch {
	case p == "" || len(p) > MaxPathBytes:
		return fmt.Errorf("path of %d bytes, want 1 to %d", len(p), MaxPathBytes)
	case !utf8.ValidString(p) || strings.ContainsAny(p, "\x00\\"):
		return fmt.Errorf("path %q holds a byte that a path may not", p)
	case path.IsAbs(p) || path.Clean(p) != p || p == "." || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("path %q is not clean and relative", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > MaxNameBytes {
			return fmt.Errorf("path %q has a part of %d bytes, the limit is %d", p, len(name), MaxNameBytes)
		}
	}
	return nil
}

// checkTarget lets a link point only at a name inside the tree. In a clean target
// ".." stands only at the start, where it climbs from the link's own directory,
// which is no link: so the name is inside on the disk too, and not just on paper,
// as with "sub/../../x" when sub is a link to a directory further up.
func checkTarget(from, target string) error {
	if target == "" || len(target) > MaxPathBytes || path.IsAbs(target) || path.Clean(target) != target || strings.ContainsAny(target, "\x00\\") || !utf8.ValidString(target) {
		return errors.New("bad target")
	}
	to := path.Join(path.Dir(from), target)
	if to == ".." || strings.HasPrefix(to, "../") {
		return errors.New("leaves the tree")
	}
	return nil
}
