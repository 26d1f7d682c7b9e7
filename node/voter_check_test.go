package node

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

func seedKey(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

// bench is a voter without a network, and documents for it to judge by.
type bench struct {
	*voter
	t    *testing.T
	view *View
	rel  *manifest.Release
	// first and second are trust metadata and rosters that follow each other. Only
	// the first lists rel.
	first, second *trust.Set
	rosters       [2][]byte
	refs          [2]order.RosterRef
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, voter: &voter{n: &Node{docs: docs{t.TempDir()}, wants: make(chan wanted, 8)}}}
	op := []ed25519.PrivateKey{seedKey(1)}
	signers := trust.Signers{Owner: op, Operator: op}
	keys := []envelope.Key{envelope.KeyOf(op[0])}
	at := time.Unix(1_800_000_000, 0)
	blank, err := trust.Init(keys, 1, keys, signers, at)
	require.NoError(t, err)
	b.rel = &manifest.Release{Format: 1, Component: "app", Version: "1.0.0", Counter: 1, Variants: []manifest.Variant{
		{Name: "all", Manifest: manifest.Sum([]byte("m")), ManifestBytes: 1, Bytes: 1, Driver: "dirslot"},
	}}
	first, err := trust.Publish(blank, []*manifest.Release{b.rel}, signers, at)
	require.NoError(t, err)
	second, err := trust.Renew(first, signers, at.Add(time.Hour))
	require.NoError(t, err)
	root := manifest.Sum(blank.Roots[0])
	b.first, err = trust.Open(root, first, nil, at)
	require.NoError(t, err)
	b.second, err = trust.Open(root, second, nil, at)
	require.NoError(t, err)
	for i := range b.rosters {
		r := &member.Roster{Format: 1, Swarm: "field", Epoch: uint64(i + 1)}
		for m := range i + 4 {
			r.Members = append(r.Members, member.Member{
				Index: member.Index(m), ID: member.ID("r" + itoa(m)), Key: envelope.KeyOf(seedKey(byte(10 + m))), JoinedAt: 1, NoVote: m == 2,
				Labels: map[string]string{"platform": "linux/arm64"},
			})
		}
		e := envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope("field"), r).Sign(op[0])
		b.rosters[i], b.refs[i] = e.Encode(), order.RosterRef{Epoch: r.Epoch, Digest: e.Digest()}
	}
	b.view = &View{Swarm: "field", Root: root, Trust: b.second, RosterRef: b.refs[1], learnt: time.Now()}
	b.view.Roster = b.roster(1)
	return b
}

func (b *bench) roster(i int) *member.Roster {
	r, _, err := member.OpenRoster(b.rosters[i], "field", b.first.Roles().Roster)
	require.NoError(b.t, err)
	return r
}

func (b *bench) keep(k join.DocumentKind, data []byte) {
	_, err := b.n.docs.put(k, data)
	require.NoError(b.t, err)
}

// rollout is one that was started under the first trust metadata and roster.
func (b *bench) rollout() *rollout.Rollout {
	r := &rollout.Rollout{ID: 1, Plan: rollout.DefaultPlan()}
	r.Plan.Swarm, r.Plan.Release = "field", b.rel.Ref()
	x, err := rollout.NewExtract(&r.Plan, b.rel, b.roster(0), b.refs[0], b.first.Ref().Digest)
	require.NoError(b.t, err)
	r.Extract = x
	return r
}

// A start is judged by the documents that it names. A voter that has newer ones by
// the time it is asked would otherwise refuse for ever, and with it all that follows.
func TestStartIsJudgedByWhatItNames(t *testing.T) {
	b := newBench(t)
	r := b.rollout()
	require.ErrorIs(t, b.checkStart(b.view, r), ErrNoDocument)
	require.Equal(t, wanted{join.ReleaseDocument, b.rel.Digest()}, <-b.n.wants)
	b.keep(join.ReleaseDocument, b.rel.Encode())
	require.ErrorIs(t, b.checkStart(b.view, r), ErrNoDocument)
	require.Equal(t, wanted{join.TrustDocument, b.first.Ref().Digest}, <-b.n.wants)
	b.keep(join.TrustDocument, b.first.Bundle().Encode())
	require.ErrorIs(t, b.checkStart(b.view, r), ErrNoDocument)
	require.Equal(t, wanted{join.RosterDocument, b.refs[0].Digest}, <-b.n.wants)
	b.keep(join.RosterDocument, b.rosters[0])
	require.NoError(t, b.checkStart(b.view, r))

	r.Extract.Strata[1]++
	require.ErrorContains(t, b.checkStart(b.view, r), "not what the roster says")
	r = b.rollout()
	r.Extract.Roster.Epoch++
	require.ErrorContains(t, b.checkStart(b.view, r), "another one than the decision says")
}

func TestVotersComeFromTheRoster(t *testing.T) {
	b := newBench(t)
	seat := func(i int, key byte) order.Voter {
		return order.Voter{Member: member.Index(i), Key: envelope.KeyOf(seedKey(key)), Server: "r" + itoa(i)}
	}
	state := func(voters ...order.Voter) *rollout.State {
		return &rollout.State{Electorate: order.Electorate{Voters: voters}}
	}
	was := state(seat(0, 10), seat(2, 12), seat(9, 99)) // one may vote no more, one has left the roster
	for _, c := range []struct {
		name string
		next *rollout.State
		ok   bool
	}{
		{"one enters", state(seat(0, 10), seat(1, 11), seat(2, 12)), true},
		{"those seated stay, whatever the roster says by now", state(seat(0, 10), seat(3, 13), seat(2, 12), seat(9, 99)), true},
		{"one that the roster does not know", state(seat(0, 10), seat(8, 18)), false},
		{"one with another key", state(seat(0, 10), seat(1, 18)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.ok, checkVoters(b.roster(0), was, c.next) == nil)
		})
	}
	require.Error(t, checkVoters(b.roster(0), state(seat(0, 10)), state(seat(0, 10), seat(2, 12))), "NoVote")
}

func TestTimeOfAnOrder(t *testing.T) {
	now := time.Now()
	v := &View{learnt: now, Order: &order.Order{Generation: 1, Index: 7, Time: now.Unix() - 3600}}
	for _, c := range []struct {
		name  string
		index uint64
		time  int64
		ok    bool
	}{
		{"now", 8, now.Unix(), true},
		{"a little ahead", 8, now.Unix() + 290, true},
		{"ahead", 8, now.Unix() + 310, false},
		{"the year 2200", 8, 7_258_118_400, false},
		{"that of the newest certified", 8, now.Unix() - 3600, true},
		{"before the newest certified", 8, now.Unix() - 3601, false},
		{"before it, but so is its index", 6, now.Unix() - 4000, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.ok, checkTime(v, &rollout.State{Generation: 1, OrderIndex: c.index, OrderTime: c.time}) == nil)
		})
	}
}
