package netsim

import (
	"context"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/netsim/fabric"
)

// A stranger is a machine that is in no roster and knows where everybody is. It
// knocks at every door that only voters and members may pass.
type stranger struct {
	w    *World
	host *p2p.Host
	told int
}

// newStranger plugs the machine in where the first operator is.
func (w *World) newStranger(ctx context.Context) (*stranger, error) {
	spec := w.scenario.Operators[0]
	radio, ok := fabric.Preset(spec.Radio)
	if !ok {
		return nil, fmt.Errorf("no radio %q", spec.Radio)
	}
	name := fmt.Sprintf("stranger-%d", len(w.net.Hosts()))
	h, err := w.net.AddHost(name, radio, point(spec.At))
	if err != nil {
		return nil, err
	}
	l, err := h.Listen(ctx, h.IP()+":7948")
	if err != nil {
		return nil, err
	}
	host, err := p2p.New(p2p.Config{Key: w.draw(name).key(), Listener: l, Dial: h.Dial, Log: w.log.With("me", name)})
	return &stranger{w: w, host: host}, err
}

// run knocks until ctx ends.
func (s *stranger) run(ctx context.Context) {
	done := make(chan error, 1)
	go func() { done <- s.host.Run(ctx) }()
	repeat(ctx, lieEvery, func() {
		for _, m := range s.w.machines() {
			v := m.view()
			if v == nil || v.Me() == nil {
				continue
			}
			for _, protocol := range []string{raftProtocol, signProtocol, reportProtocol, proposeProtocol} {
				s.knock(ctx, m, v.Me().Key, protocol)
			}
		}
	})
	s.w.truth.note("netsim", "stranger", "has knocked %d times", s.told)
	if err := <-done; err != nil {
		s.w.truth.note("netsim", "stranger", "%v", err)
	}
}

// knock opens a protocol. If the door opens the swarm has lost already: raft believes
// whoever speaks to it, so nobody can say any more who leads.
func (s *stranger) knock(ctx context.Context, m *machine, key envelope.Key, protocol string) {
	ctx, cancel := context.WithTimeout(ctx, callFor)
	defer cancel()
	s.told++
	c, err := s.host.OpenAt(ctx, m.cfg.Control, key, protocol)
	if err != nil {
		return
	}
	s.w.checks.violate("one-leader", "%s lets a stranger in to %s", m.name, protocol)
	_ = c.Reset() // it has seen enough
}
