package artifacts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/wire"
)

const (
	// runBytes bounds what a session gathers before it is verified and written: most of
	// a piece of a large image, or all of it.
	runBytes = 512 << 10
	// runTime is how soon after each other chunks must come to be gathered, and how long
	// that may take. A link of 10 Mbit/s is too slow for it: there, whatever has come is
	// verified and written at once.
	runTime = 50 * time.Millisecond
)

// incoming takes the chunks of one session. On a fast link chunks that follow each other
// are verified and written together, for that costs a third less; nothing is told to
// anybody before it is written.
type incoming struct {
	s    *session
	talk talk
	raw  []byte // the decoder's buffer

	run   []byte    // chunks that are not written yet, one after the other; at most runBytes
	first int       // the chunk at the start of run
	next  int       // the chunk that would follow
	since time.Time // when the first of run came
	last  time.Time // when a chunk came last
}

// data takes one chunk. What it is may be found out later, in flush.
func (in *incoming) data(ctx context.Context, d wire.Data) error {
	s, n := in.s, int(d.Chunk)
	if !s.came(n) {
		return fmt.Errorf("%w: sends chunk %d, which nobody asked for", errProtocol, n)
	}
	if s.f.store.HasChunk(n) {
		return nil // came from somebody else meanwhile
	}
	data, err := s.f.x.codec.unpack(d, int(s.f.store.Manifest().Chunks[n].Bytes), &in.raw)
	if err != nil {
		return errors.Join(&wrongChunk{n}, in.flush(ctx))
	}
	now := time.Now()
	fast := now.Sub(in.last) < runTime
	in.last = now
	if len(in.run) > 0 && (n != in.next || len(in.run)+len(data) > runBytes) {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	if !fast && len(in.run) == 0 {
		return in.take(ctx, n, n+1, data)
	}
	if len(in.run) == 0 {
		in.first, in.since = n, now
	}
	in.run, in.next = append(in.run, data...), n+1
	if now.Sub(in.since) >= runTime {
		return in.flush(ctx)
	}
	return nil
}

// flush verifies and writes what was gathered.
func (in *incoming) flush(ctx context.Context) error {
	if len(in.run) == 0 {
		return nil
	}
	data := in.run
	in.run = in.run[:0]
	return in.take(ctx, in.first, in.next, data)
}

// take verifies and writes the chunks first to end-1, of which data is the bytes.
func (in *incoming) take(ctx context.Context, first, end int, data []byte) error {
	f := in.s.f
	held, err := f.store.WriteRun(first, data)
	if f.h.taken() {
		for n := first; n < first+held; n++ {
			bytes := f.store.Manifest().Chunks[n].Bytes
			f.recent.put(n, data[:bytes])
			data = data[bytes:]
		}
	}
	switch {
	case errors.Is(err, manifest.ErrDigest):
		return &wrongChunk{first + held}
	case err != nil:
		return in.s.tell(ctx, func(*fetch) error { return err }) // ends the fetch
	}
	return nil
}
