package delta

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// WorthPermille is what a segment may take of what its chunks would take on the wire
// to be put into a pack: above it the chunks are hardly worse, and need no old image.
const WorthPermille = 700

// chunkSavePermille is what zstd must save of a chunk for the wire to use it; see
// packages bundle and artifacts.
const chunkSavePermille = 50

// Stats say what a build was good for. A pack without segments is of no use.
type Stats struct {
	Chunks  int   // of the new image that the old one lacks, each once
	Missing int64 // their length
	Wire    int64 // what they take on the wire as they are
	Covered int64 // length of those that the pack makes
	Saved   int64 // what those take on the wire as they are
	Pack    int64 // length of the pack
}

// Build writes a pack to w that makes what fresh has and old lacks. Equal images give
// equal packs. It needs some 200 MiB of memory at most. progress may be nil.
// Errors are those of the images and of w, and ErrOther if the two are one image.
func Build(ctx context.Context, old, fresh Image, w io.Writer, progress func(done, total int64)) (Stats, error) {
	b, err := newBuilder(old, fresh, w)
	if err != nil {
		return Stats{}, err
	}
	defer b.best.Close()
	defer b.plain.Close()
	if b.index.From == b.index.To {
		return Stats{}, fmt.Errorf("%w: both are image %s", ErrOther, b.index.To.Short())
	}
	if err := b.write(binary.BigEndian.AppendUint32([]byte(magic), Format)); err != nil {
		return Stats{}, err
	}
	missing := absent(old, fresh.Manifest())
	for _, n := range missing {
		b.stats.Chunks++
		b.stats.Missing += int64(b.m.Chunks[n].Bytes)
	}
	var done int64
	for _, runs := range groups(b.m, missing) {
		if ctx.Err() != nil {
			return b.stats, context.Cause(ctx)
		}
		if err := b.segment(runs); err != nil {
			return b.stats, err
		}
		if progress != nil {
			done += int64((&Segment{Runs: runs}).bytes(b.m))
			progress(done, b.stats.Missing)
		}
	}
	return b.stats, b.finish()
}

// absent lists the chunks of m that old has nowhere, each digest once.
func absent(old Image, m *manifest.Manifest) []int {
	has := map[manifest.Digest]bool{}
	for k, c := range old.Manifest().Chunks {
		if old.HasChunk(k) {
			has[c.Digest] = true
		}
	}
	var out []int
	for n, c := range m.Chunks {
		if !has[c.Digest] {
			has[c.Digest] = true
			out = append(out, n)
		}
	}
	return out
}

// groups cuts chunks into runs for segments of SegmentBytes.
func groups(m *manifest.Manifest, chunks []int) [][]Run {
	var out [][]Run
	var runs []Run
	size := 0
	for _, n := range chunks {
		if k := len(runs) - 1; k >= 0 && runs[k].First+runs[k].Count == uint32(n) {
			runs[k].Count++
		} else {
			runs = append(runs, Run{First: uint32(n), Count: 1})
		}
		if size += int(m.Chunks[n].Bytes); size >= SegmentBytes || len(runs) == MaxRuns {
			out, runs, size = append(out, runs), nil, 0
		}
	}
	if len(runs) > 0 {
		out = append(out, runs)
	}
	return out
}

// A builder is one run of Build.
type builder struct {
	fresh       Image
	m           *manifest.Manifest
	layout      *manifest.Layout
	ground      *ground
	w           io.Writer
	index       Index
	stats       Stats
	best, plain *zstd.Encoder // of frames, and as chunks are sent
	buf, packed []byte
	next        int   // chunk after the last one that was made
	end         int64 // place in the ground where that stopped
}

func newBuilder(old, fresh Image, w io.Writer) (*builder, error) {
	m := fresh.Manifest()
	b := &builder{
		fresh: fresh, m: m, layout: manifest.NewLayout(m), ground: newGround(old, m), w: w, next: -1,
		index: Index{Format: Format, From: old.Manifest().Digest(), To: m.Digest()},
	}
	var err error
	b.best, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(MaxRawBytes))
	if err == nil {
		b.plain, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	}
	return b, err
}

func (b *builder) write(data []byte) error {
	b.stats.Pack += int64(len(data))
	if _, err := b.w.Write(data); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	return nil
}

// segment makes a segment of these chunks, or two of its halves if one would need too
// much of the old image. What does not pay is left out.
func (b *builder) segment(runs []Run) error {
	d, wire, err := b.draft(runs)
	if err != nil {
		return err
	}
	ranges, base, ops, ok := d.base()
	if !ok {
		one, two := halves(runs)
		if two == nil || len(b.index.Segments) == MaxSegments {
			b.stats.Wire += wire
			return nil
		}
		if err := b.segment(one); err != nil {
			return err
		}
		return b.segment(two)
	}
	b.stats.Wire += wire
	raw := appendPayload(nil, ops, base, d.fresh)
	frame := b.best.EncodeAll(raw, nil)
	if len(raw) > MaxRawBytes || int64(len(frame)) > wire*WorthPermille/1000 || len(b.index.Segments) == MaxSegments {
		return nil
	}
	made := make([]byte, len(d.fresh))
	if err := unpack(raw, base, made); err != nil || string(made) != string(d.fresh) {
		return fmt.Errorf("build pack: a segment of %d bytes does not make what it should; this is a bug: %v", len(made), err)
	}
	b.stats.Covered += int64(len(made))
	b.stats.Saved += wire
	b.index.Segments = append(b.index.Segments, Segment{Runs: runs, Base: ranges, Stored: uint32(len(frame)), Raw: uint32(len(raw))})
	return b.write(frame)
}

// draft reads the chunks of runs and finds them in the old image. wire is what they
// take on the wire as they are.
func (b *builder) draft(runs []Run) (d *draft, wire int64, err error) {
	d = &draft{}
	if d.win, err = b.ground.around(b.expect(int(runs[0].First))); err != nil {
		return nil, 0, fmt.Errorf("read the old image: %w", err)
	}
	for _, r := range runs {
		from := len(d.fresh)
		for n := int(r.First); n < int(r.First+r.Count); n++ {
			if b.buf, err = b.fresh.ReadChunk(n, b.buf); err != nil {
				return nil, 0, fmt.Errorf("read the new image: %w", err)
			}
			d.fresh = append(d.fresh, b.buf...)
			wire += b.wire(b.buf)
		}
		at := min(max(d.win.inside(b.expect(int(r.First))), 0), len(d.win.old))
		ops := d.win.diff(d.fresh[from:], at)
		last := ops[len(ops)-1]
		b.next, b.end = int(r.First+r.Count), b.ground.starts[d.win.first]+int64(last.pos+last.add)
		d.ops = append(d.ops, ops...)
	}
	return d, wire, nil
}

// wire is what a chunk takes on the wire as it is.
func (b *builder) wire(chunk []byte) int64 {
	b.packed = b.plain.EncodeAll(chunk, b.packed[:0])
	if limit := len(chunk) - len(chunk)*chunkSavePermille/1000; len(b.packed) <= limit {
		return int64(len(b.packed))
	}
	return int64(len(chunk))
}

// expect is the place of the ground where the chunk n is likely to begin: where the
// chunk before it ended, or as far into the file of the same name.
func (b *builder) expect(n int) int64 {
	if n == b.next {
		return b.end
	}
	x := b.layout.Extents(n)[0]
	if old, ok := b.ground.paths[b.m.Entries[x.Entry].Path]; ok {
		return b.ground.place(old.offset + min(x.Offset, old.bytes))
	}
	return b.end
}

// halves cuts runs in two of about as many chunks; two is nil for a single chunk.
func halves(runs []Run) (one, two []Run) {
	total := uint32(0)
	for _, r := range runs {
		total += r.Count
	}
	left := total / 2
	if left == 0 {
		return runs, nil
	}
	for _, r := range runs {
		n := min(left, r.Count)
		left -= n
		if n > 0 {
			one = append(one, Run{First: r.First, Count: n})
		}
		if n < r.Count {
			two = append(two, Run{First: r.First + n, Count: r.Count - n})
		}
	}
	return one, two
}

// finish writes the index and the tail.
func (b *builder) finish() error {
	x := b.index.Encode()
	if len(x) > MaxIndexBytes {
		return fmt.Errorf("build pack: an index of %d bytes, the limit is %d", len(x), MaxIndexBytes)
	}
	sum := manifest.Sum(x)
	if err := b.write(x); err != nil {
		return err
	}
	return b.write(append(binary.BigEndian.AppendUint64(nil, uint64(len(x))), sum[:]...))
}
