package netsim

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// A server is a villain's end of one transfer: it says that it has everything.
type server struct {
	v *villain
	s *p2p.Stream
	b *bundle.Bundle
	m *manifest.Manifest
}

// servePieces answers whoever wants pieces of an image: rate of the answers as wrong
// does, the others with what is right.
func servePieces(wrong func(*server, wire.Ask) error) func(*villain) {
	return func(v *villain) {
		v.bulk.Handle(artifacts.Protocol, func(ctx context.Context, s *p2p.Stream) {
			if err := v.serve(s, wrong); err != nil && ctx.Err() == nil {
				v.m.cfg.Log.Debug("a liar's transfer ended", "err", err)
			}
			_ = s.Close() // the other side has gone, or is done
		})
	}
}

func (v *villain) serve(s *p2p.Stream, wrong func(*server, wire.Ask) error) error {
	r := wire.NewReader(bufio.NewReader(s))
	first, err := r.Read()
	if err != nil {
		return err
	}
	hello, ok := first.(wire.Hello)
	if !ok {
		return fmt.Errorf("%T instead of a hello", first)
	}
	b, m, err := v.w.image(hello.Manifest)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // it was only read
	all := manifest.NewBitmap(len(m.Pieces()))
	for i := range m.Pieces() {
		all = all.With(i)
	}
	if err := wire.Write(s, wire.Hello{Format: wire.Format, Manifest: m.Digest(), Have: all}); err != nil {
		return err
	}
	for {
		f, err := r.Read()
		if err != nil {
			return err
		}
		a, ok := f.(wire.Ask)
		if !ok || int(a.Piece) >= len(m.Pieces()) {
			continue
		}
		answer := right
		if v.lies() {
			answer = wrong
		}
		if err := answer(&server{v, s, b, m}, a); err != nil {
			return err
		}
	}
}

// image is an image that was built, by the digest of its manifest.
func (w *World) image(d manifest.Digest) (*bundle.Bundle, *manifest.Manifest, error) {
	for _, r := range w.built() {
		for _, variant := range r.Variants {
			if variant.Manifest != d {
				continue
			}
			b, err := bundle.Open(r.star)
			if err != nil {
				return nil, nil, err
			}
			m, err := b.Manifest(d)
			return b, m, err
		}
	}
	return nil, nil, fmt.Errorf("image %s was never built", d.Short())
}

// chunks sends what was asked for, as bend makes it.
func (s *server) chunks(a wire.Ask, bend func([]byte) []byte) error {
	for _, k := range a.Chunks.All() {
		n := s.m.Pieces()[a.Piece].First + k
		if n >= len(s.m.Chunks) {
			return fmt.Errorf("chunk %d is not there", n)
		}
		data, err := s.b.ReadChunk(s.m.Chunks[n])
		if err != nil {
			return err
		}
		if err := wire.Write(s.s, wire.Data{Chunk: uint32(n), Bytes: bend(data)}); err != nil {
			return err
		}
	}
	return wire.Write(s.s, wire.Sent{Piece: a.Piece})
}

func right(s *server, a wire.Ask) error {
	return s.chunks(a, func(b []byte) []byte { return b })
}

// corrupt sends other bytes.
func corrupt(s *server, a wire.Ask) error {
	return s.chunks(a, func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	})
}

// stall never answers.
func stall(*server, wire.Ask) error { return nil }

// refuse does not have what it said it has.
func refuse(s *server, a wire.Ask) error { return wire.Write(s.s, wire.Refuse{Piece: a.Piece}) }
