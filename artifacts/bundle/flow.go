package bundle

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// blockBytes is how much of a stream is worked on at once. What is left of a
	// block behind its last cut, less than a chunk, is copied to the next.
	blockBytes = 1 << 20
	// maxWorkers bounds those who hash and compress, and so the memory: beyond it
	// the one who reads and cuts sets the pace.
	maxWorkers = 8
)

// A block is a run of whole chunks on its way through a flow.
type block struct {
	buf    []byte           // blockBytes and a chunk long, used again and again
	data   []byte           // the chunks, one after the other
	chunks []manifest.Chunk // of data; their digests are the workers' part
	packed [][]byte         // indexed as chunks: what a packer made of it, if anything
	ready  chan struct{}    // holds one token once the workers' part is done
}

// A packer appends the packed form of a chunk to the empty buf, or nothing if the
// chunk is to stay as it is. It is used by one goroutine.
type packer func(c manifest.Chunk, data, buf []byte) []byte

// flow reads r to its end, cuts it into chunks, hashes them by all processors, and
// gives them to take, block by block in the order of the stream, in one goroutine.
// With pack, each worker asks it once for a packer and takes all chunks through that.
// A block is take's until it returns. No goroutine outlives the call.
func flow(ctx context.Context, r io.Reader, pack func() packer, take func(*block) error) error {
	g, ctx := errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	// Each of the three channels holds all blocks, so that only the want of a free
	// one makes anybody wait.
	blocks := workers + 2
	free, work, order := make(chan *block, blocks), make(chan *block, blocks), make(chan *block, blocks)
	for range blocks {
		free <- &block{ready: make(chan struct{}, 1)}
	}
	g.Go(func() error {
		defer close(order)
		defer close(work)
		return cutBlocks(ctx, r, free, work, order)
	})
	for range workers {
		g.Go(func() error {
			var p packer
			if pack != nil {
				p = pack()
			}
			for b := range work {
				b.prove(p)
				b.ready <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range order {
			<-b.ready
			if err := take(b); err != nil {
				return err
			}
			free <- b
		}
		return nil
	})
	return g.Wait()
}

// cutBlocks fills free blocks from r and hands each to the workers, and in order to
// whoever takes them.
func cutBlocks(ctx context.Context, r io.Reader, free <-chan *block, work, order chan<- *block) error {
	var rest []byte // of the block before, behind its last cut
	for {
		var b *block
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case b = <-free:
		}
		if b.buf == nil {
			b.buf = make([]byte, blockBytes+manifest.MaxChunkBytes)
		}
		n := copy(b.buf, rest)
		read, err := io.ReadFull(r, b.buf[n:])
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return err
		}
		rest = b.cut(b.buf[:n+read], last)
		if len(b.chunks) > 0 {
			work <- b
			order <- b
		}
		if last {
			return nil
		}
	}
}

// cut makes data's chunks those of b and returns what is left: nothing at the
// stream's last block, else less than a chunk, which stays valid until b is free
// again, and that is not before the next one was filled: there are three or more.
func (b *block) cut(data []byte, last bool) (rest []byte) {
	b.chunks = b.chunks[:0]
	at := 0
	for len(data)-at >= manifest.MaxChunkBytes || last && at < len(data) {
		n := cutPoint(data[at:])
		b.chunks = append(b.chunks, manifest.Chunk{Bytes: uint32(n)})
		at += n
	}
	b.data = data[:at]
	return data[at:]
}

// prove hashes all chunks, and packs them with p unless it is nil.
func (b *block) prove(p packer) {
	for len(b.packed) < len(b.chunks) {
		b.packed = append(b.packed, nil)
	}
	data := b.data
	for i := range b.chunks {
		c := &b.chunks[i]
		part := data[:c.Bytes]
		data = data[c.Bytes:]
		c.Digest = manifest.Sum(part)
		if p != nil {
			b.packed[i] = p(*c, part, b.packed[i][:0])
		}
	}
}
