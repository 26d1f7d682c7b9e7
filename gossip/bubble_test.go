package gossip

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// A swarm is a set of memberships on one memnet, inside a bubble.
type swarm struct {
	t     *testing.T
	net   *memnet
	ctx   context.Context
	nodes []*node
}

type node struct {
	*Membership
	host *memhost
	stop context.CancelFunc
	end  chan error
}

// inBubble runs f in virtual time and stops every node it started.
func inBubble(t *testing.T, f func(t *testing.T, s *swarm)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &swarm{t: t, net: newMemnet(), ctx: t.Context()}
		defer func() { // also after a failure, or the bubble would panic and hide it
			for _, n := range s.nodes {
				s.halt(n)
			}
			time.Sleep(2 * streamLife) // memberlist's last probes and streams
		}()
		f(t, s)
	})
}

// settle is enough for a swarm to become whole: what gossip misses by chance, a
// full exchange of states repairs, of which the slowest profile has two in ten minutes.
const settle = 12 * time.Minute

var testKey = []byte("0123456789abcdef0123456789abcdef")

func addrOf(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }

// start runs a membership with index i; change may alter its config. The seed
// is member 0.
func (s *swarm) start(i int, change ...func(*Config)) *node {
	s.t.Helper()
	return s.startAt(i, addrOf(i), change...)
}

func (s *swarm) startAt(i int, addr string, change ...func(*Config)) *node {
	s.t.Helper()
	h := s.net.host(addr)
	cfg := Config{
		Self: member.Index(i), Swarm: "field", Keys: [][]byte{testKey},
		Packets: h, Streams: h.listener(), Dial: h.dial,
		Seeds: func() []string { return []string{addrOf(0)} },
		Meta:  Meta{Bulk: 4000 + uint16(i), Control: 5000},
	}
	for _, c := range change {
		c(&cfg)
	}
	m, err := New(cfg)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(s.ctx)
	n := &node{Membership: m, host: h, stop: cancel, end: make(chan error, 1)}
	go func() { n.end <- m.Run(ctx) }()
	s.nodes = append(s.nodes, n)
	return n
}

// startAll runs n members.
func (s *swarm) startAll(n int, change ...func(*Config)) []*node {
	s.t.Helper()
	var out []*node
	for i := range n {
		out = append(out, s.start(i, change...))
	}
	return out
}

// halt ends a node without a goodbye.
func (s *swarm) halt(n *node) {
	n.stop()
	if n.end != nil {
		assert.NoError(s.t, <-n.end)
		n.end = nil
	}
}

// within waits in virtual time until ok, and returns how long that took.
func (s *swarm) within(limit time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			for _, n := range s.nodes {
				s.t.Logf("node %d: %v", n.cfg.Self, n.states())
			}
			s.t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}

// states is what a node believes, for comparing and printing.
func (n *node) states() map[member.Index]State {
	out := map[member.Index]State{}
	for _, m := range n.Members() {
		out[m.Index] = m.State
	}
	return out
}

func (n *node) sees(i int, want State) bool {
	m, ok := n.Lookup(member.Index(i))
	return ok && m.State == want
}

// allAlive reports whether every one of nodes sees every one alive and nobody else.
func allAlive(nodes []*node) bool {
	for _, a := range nodes {
		if len(a.Members()) != len(nodes) {
			return false
		}
		for _, b := range nodes {
			if !a.sees(int(b.cfg.Self), Alive) {
				return false
			}
		}
	}
	return true
}

// split cuts the hosts below the border from the rest.
func split(border int) func(from, to netip.AddrPort) bool {
	side := func(a netip.AddrPort) bool { return int(a.Addr().As4()[3])-1 < border }
	return func(from, to netip.AddrPort) bool { return side(from) != side(to) }
}

func mesh(c *Config) { c.Profile = Mesh }

func pointer(index uint64) Pointer {
	return Pointer{order.Pointer{Generation: 1, Index: index}, manifest.Sum(fmt.Append(nil, index))}
}
