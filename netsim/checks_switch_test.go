package netsim

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

func setOf(list ...int) (s member.Set) {
	for _, i := range list {
		s = s.With(i)
	}
	return s
}

// switchUnder is robot 5 switching from old to fresh, whose rollout has opened a batch
// of it, and what is different.
func switchUnder(change func(s *switching, r *order.Rollout)) *switching {
	r := &order.Rollout{ID: 1, Component: "app", Release: fresh, Status: order.Running, Stage: order.Canary, Open: setOf(5), Opened: setOf(5)}
	s := &switching{robot: "cart-5", me: 5, part: "app", from: old, to: fresh, order: at(9, r)}
	if change != nil {
		change(s, r)
	}
	return s
}

func TestSwitches(t *testing.T) {
	lower := manifest.Ref{Version: "0.9", Counter: 1, Digest: manifest.Sum([]byte("0.9"))}
	for name, c := range map[string]struct {
		change                   func(s *switching, r *order.Rollout)
		forbidden, defies, lower string // "" is as it should be
	}{
		"in its batch":         {nil, "", "", ""},
		"catches up":           {func(s *switching, r *order.Rollout) { s.order.Components[0].Active = fresh; s.order.Rollout = nil }, "", "", ""},
		"catches up after":     {func(s *switching, r *order.Rollout) { s.order.Components[0].Active = fresh; r.Status = order.Finished }, "", "", ""},
		"another robot's turn": {func(s *switching, r *order.Rollout) { s.me = 6 }, "not in the open batch", "", ""},
		"held":                 {func(s *switching, r *order.Rollout) { r.Status = order.Held }, "is held", "is held", ""},
		"being taken back":     {func(s *switching, r *order.Rollout) { r.Status = order.RollingOff }, "is reverting", "is reverting", ""},
		"was taken back":       {func(s *switching, r *order.Rollout) { r.Status = order.Reverted }, "neither active nor rolling out", "is reverted", ""},
		"halted":               {func(s *switching, r *order.Rollout) { s.stopped = "it is halted" }, "halted", "halted", ""},
		"quarantined":          {func(s *switching, r *order.Rollout) { s.order.Quarantine = []manifest.Digest{fresh.Digest} }, "quarantined", "", ""},
		"knows nothing":        {func(s *switching, r *order.Rollout) { s.order = nil }, "no order", "", ""},
		"not certified":        {func(s *switching, r *order.Rollout) { s.proven = errors.New("1 of 4") }, "not certified", "", ""},
		"another release":      {func(s *switching, r *order.Rollout) { s.to = lower }, "neither active nor rolling out", "", ""},
		"an older one, ordered": {func(s *switching, r *order.Rollout) {
			s.from, s.to = fresh, lower
			r.Release = lower
		}, "", "", ""},
		"an older one below the floor": {func(s *switching, r *order.Rollout) {
			s.from, s.to = fresh, lower
			r.Release, s.order.Components[0].Floor = lower, 2
		}, "", "", "below the floor"},
		"an older one, nobody's": {func(s *switching, r *order.Rollout) { s.from, s.to = fresh, lower }, "neither", "", "nobody ordered"},
	} {
		t.Run(name, func(t *testing.T) {
			s := switchUnder(c.change)
			for _, x := range []struct{ want, got string }{{c.forbidden, s.forbidden()}, {c.defies, s.defies()}, {c.lower, s.lower()}} {
				if x.want == "" {
					require.Empty(t, x.got)
				} else {
					require.Contains(t, x.got, x.want)
				}
			}
		})
	}
}

func TestOutside(t *testing.T) {
	b := newOrders()
	_, _ = b.learn("a", proofFor(signed(switchUnder(nil).order, 0, 1, 2)), 0)
	require.Empty(t, b.outside(switchUnder(nil)))
	require.Empty(t, b.outside(switchUnder(func(s *switching, _ *order.Rollout) { s.me, s.to = 6, old })), "what is active is for everybody")
	require.Contains(t, b.outside(switchUnder(func(s *switching, _ *order.Rollout) { s.me = 6 })), "no order has ever opened")
}

func TestHeightFalls(t *testing.T) {
	high := height{pointer: order.Pointer{Generation: 2, Index: 7}, roster: 3, halt: 2, root: 1, targets: 4, snapshot: 5, timestamp: 6}
	require.Empty(t, high.falls(high))
	for name, change := range map[string]func(h *height){
		"order fell from g2/7 to g1/9":  func(h *height) { h.pointer = order.Pointer{Generation: 1, Index: 9} },
		"order fell from g2/7 to g2/6":  func(h *height) { h.pointer.Index-- },
		"roster fell from 3 to 2":       func(h *height) { h.roster-- },
		"halt counter fell from 2 to 1": func(h *height) { h.halt-- },
		"root fell from 1 to 0":         func(h *height) { h.root-- },
		"targets fell from 4 to 3":      func(h *height) { h.targets-- },
		"snapshot fell from 5 to 4":     func(h *height) { h.snapshot-- },
		"timestamp fell from 6 to 5":    func(h *height) { h.timestamp-- },
	} {
		now := high
		change(&now)
		require.Equal(t, []string{name}, high.falls(now))
		require.Empty(t, now.falls(high), "and up is no complaint")
	}
}
