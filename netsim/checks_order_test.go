package netsim

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

func voterKey(i int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize))
}

// electorateOf are members as voters.
func electorateOf(version uint32, members ...int) order.Electorate {
	e := order.Electorate{Version: version}
	for _, i := range members {
		e.Voters = append(e.Voters, order.Voter{Member: member.Index(i), Key: envelope.KeyOf(voterKey(i)), Server: string(rune('a' + i))})
	}
	return e
}

var (
	founding = manifest.Sum([]byte("genesis"))
	old      = manifest.Ref{Version: "1.0", Counter: 1, Digest: manifest.Sum([]byte("1.0"))}
	fresh    = manifest.Ref{Version: "1.1", Counter: 2, Digest: manifest.Sum([]byte("1.1"))}
)

// beginning is a generation with voters 0 to 3.
func beginning() *order.Genesis {
	return &order.Genesis{Order: order.Order{
		Format: 1, Swarm: "s", Generation: 1, Level: 1, Electorate: electorateOf(1, 0, 1, 2, 3), Components: []order.Component{{Name: "app", Active: old}},
	}}
}

// at is an order of the founding voters.
func at(index uint64, r *order.Rollout) *order.Order {
	o := beginning().Order
	o.Index, o.Parent, o.Rollout = index, founding, r
	return &o
}

// signed is an order with the signatures of voters.
func signed(o *order.Order, voters ...int) order.Proven {
	s := order.Statement{Swarm: o.Swarm, Generation: o.Generation, Index: o.Index, Order: o.Digest(), State: manifest.Sum([]byte{byte(o.Index)})}
	var sigs []envelope.Signature
	for _, i := range voters {
		sigs = append(sigs, s.Sign(voterKey(i)))
	}
	return order.Proven{Order: o, Certificate: order.NewCertificate(s, sigs)}
}

func proofFor(newest order.Proven, chain ...order.Proven) *proof {
	return &proof{genesis: beginning(), digest: founding, chain: chain, newest: newest}
}

func TestQuorumOf(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5} {
		require.Equal(t, want, quorumOf(n), "of %d", n)
		require.Equal(t, order.Quorum(n), quorumOf(n), "of %d, as the product has it", n)
	}
}

func TestProof(t *testing.T) {
	swap := at(5, nil)
	swap.Electorate = electorateOf(2, 0, 1, 2, 4)
	after := at(6, nil)
	after.Electorate, after.Parent = swap.Electorate, swap.Digest()
	stranger := at(6, nil)
	stranger.Electorate = electorateOf(1, 0, 1, 2, 9)
	loose := signed(at(4, nil), 0, 1, 2)
	loose.Order = at(4, &order.Rollout{ID: 1})
	for name, c := range map[string]struct {
		p    *proof
		want string // "" is proven
	}{
		"the genesis itself":       {proofFor(order.Proven{Order: &beginning().Order}), ""},
		"three of four":            {proofFor(signed(at(4, nil), 0, 1, 2)), ""},
		"two of four":              {proofFor(signed(at(4, nil), 0, 1)), "2 of 4 voters"},
		"two and a stranger":       {proofFor(signed(at(4, nil), 0, 1, 9)), "2 of 4 voters"},
		"one voter three times":    {proofFor(signed(at(4, nil), 0, 0, 0)), "1 of 4 voters"},
		"nobody":                   {proofFor(order.Proven{Order: at(4, nil)}), "no certificate"},
		"another order's":          {proofFor(loose), "another order"},
		"a swap":                   {proofFor(signed(swap, 0, 1, 2), signed(swap, 0, 1, 2)), ""},
		"after a swap":             {proofFor(signed(after, 0, 1, 4), signed(swap, 0, 1, 2)), ""},
		"a swap without the new":   {proofFor(signed(after, 0, 1, 4), signed(swap, 1, 2, 3)), "2 of 4 voters"},
		"voters from nowhere":      {proofFor(signed(stranger, 0, 1, 2)), "other voters"},
		"of another line":          {proofFor(signed(at(6, nil), 0, 1, 2), signed(swap, 0, 1, 2)), "other voters"},
		"a chain that skips one":   {proofFor(signed(after, 0, 1, 4), signed(after, 0, 1, 4)), "out of line"},
		"signed by those replaced": {proofFor(signed(after, 1, 2, 3), signed(swap, 0, 1, 2)), "2 of 4 voters"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.p.check()
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

func names(list []complaint) (out []string) {
	for _, c := range list {
		out = append(out, c.invariant)
	}
	return out
}

func TestOrders(t *testing.T) {
	running := func(id, start uint64, s order.Status) *order.Rollout {
		return &order.Rollout{ID: id, Component: "app", Release: fresh, Start: start, Status: s, Stage: order.Canary}
	}
	other := signed(at(4, nil), 0, 1, 2)
	other.Certificate.Statement.State = manifest.Sum([]byte("x"))
	elsewhere := proofFor(signed(at(5, nil), 0, 1, 2))
	elsewhere.digest = manifest.Sum([]byte("another genesis"))
	for name, c := range map[string]struct {
		saw  []*proof
		want []string
	}{
		"one after the other":           {[]*proof{proofFor(signed(at(4, nil), 0, 1, 2)), proofFor(signed(at(5, nil), 1, 2, 3))}, nil},
		"the same by other voters":      {[]*proof{proofFor(signed(at(4, nil), 0, 1, 2)), proofFor(signed(at(4, nil), 1, 2, 3))}, nil},
		"two at one index":              {[]*proof{proofFor(signed(at(4, nil), 0, 1, 2)), proofFor(signed(at(4, running(1, 4, order.Running)), 1, 2, 3))}, []string{"one-order"}},
		"two states at one index":       {[]*proof{proofFor(signed(at(4, nil), 0, 1, 2)), proofFor(other)}, []string{"one-leader", "one-order"}},
		"not certified":                 {[]*proof{proofFor(signed(at(4, nil), 0, 1))}, []string{"one-order"}},
		"two beginnings":                {[]*proof{proofFor(signed(at(4, nil), 0, 1, 2)), elsewhere}, []string{"one-order", "one-generation"}},
		"a rollout after the other":     {[]*proof{proofFor(signed(at(4, running(1, 4, order.Finished)), 0, 1, 2)), proofFor(signed(at(6, running(2, 6, order.Running)), 0, 1, 2))}, nil},
		"the end of the first not seen": {[]*proof{proofFor(signed(at(4, running(1, 4, order.Running)), 0, 1, 2)), proofFor(signed(at(6, running(2, 6, order.Running)), 0, 1, 2))}, nil},
		"two under way":                 {[]*proof{proofFor(signed(at(6, running(2, 5, order.Running)), 0, 1, 2)), proofFor(signed(at(7, running(1, 4, order.Held)), 0, 1, 2))}, []string{"one-active-rollout"}},
		"two under way, seen in order":  {[]*proof{proofFor(signed(at(7, running(1, 4, order.Held)), 0, 1, 2)), proofFor(signed(at(8, running(2, 5, order.Running)), 0, 1, 2))}, []string{"one-active-rollout"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newOrders()
			var got []string
			for _, p := range c.saw {
				list, _ := b.learn("a", p, 0)
				got = append(got, names(list)...)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// The end of a rollout may go unseen, but not without a trace.
func TestRolloutsEnd(t *testing.T) {
	first := at(4, &order.Rollout{ID: 1, Component: "app", Release: fresh, Start: 4, Opened: setOf(5)})
	next := manifest.Ref{Version: "1.2", Counter: 3, Digest: manifest.Sum([]byte("1.2"))}
	for name, c := range map[string]struct {
		change func(was, o *order.Order)
		want   []string
	}{
		"no trace":      {func(_, o *order.Order) {}, []string{"one-active-rollout"}},
		"it is active":  {func(_, o *order.Order) { o.Components = []order.Component{{Name: "app", Active: fresh}} }, nil},
		"taken back":    {func(_, o *order.Order) { o.Quarantine = []manifest.Digest{fresh.Digest} }, nil},
		"met nobody":    {func(was, _ *order.Order) { was.Rollout.Opened = nil }, nil},
		"ran out":       {func(_, o *order.Order) { o.Time = 1001 }, nil},
		"was seen over": {func(was, _ *order.Order) { was.Rollout.Status = order.Reverted }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			was, o := *first, *at(9, &order.Rollout{ID: 2, Component: "app", Release: next, Start: 8})
			r := *first.Rollout
			was.Rollout = &r
			c.change(&was, &o)
			b := newOrders()
			b.expires[r.Plan] = 1000
			list, _ := b.learn("a", proofFor(signed(&was, 0, 1, 2)), 0)
			require.Empty(t, list)
			list, _ = b.learn("a", proofFor(signed(&o, 0, 1, 2)), 0)
			require.Equal(t, c.want, names(list))
		})
	}
}

func TestStagesPass(t *testing.T) {
	b := newOrders()
	see := func(index uint64, s order.Stage, wave uint8, opened ...int) []passed {
		var set member.Set
		for _, i := range opened {
			set = set.With(i)
		}
		_, over := b.learn("a", proofFor(signed(at(index, &order.Rollout{ID: 1, Component: "app", Release: fresh, Start: 4, Stage: s, Wave: wave, Opened: set}), 0, 1, 2)), 0)
		return over
	}
	require.Empty(t, see(4, order.Verify, 0))
	require.Len(t, see(5, order.Canary, 0, 7), 1, "verify is over")
	require.Empty(t, see(6, order.Canary, 0, 7, 8), "another batch of the same stage")
	over := see(7, order.Wave, 1, 7, 8, 9)
	require.Len(t, over, 1)
	require.Equal(t, order.Canary, over[0].stage)
	require.Equal(t, 2, over[0].opened.Count(), "both canaries")
	require.Empty(t, see(6, order.Canary, 0, 7, 8), "somebody who is behind shows nothing new")
	require.Equal(t, []int{7, 8}, b.rollouts[1].before(order.Wave, 1).All())
	require.Len(t, see(9, order.Wave, 2, 7, 8, 9, 10), 1, "wave 1 is over")
}
