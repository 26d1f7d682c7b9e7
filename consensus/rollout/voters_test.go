package rollout

import (
	"slices"
	"testing"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// endorsedBy is a swap of voter 3 for robot 7 with the words of these voters, for
// the state as change leaves it.
func (g *rig) endorsedBy(change func(*State), voters ...member.Index) *Decision {
	out, in := member.Index(3), g.voter(7)
	c := &SetVoters{Remove: &out, Add: &in}
	s := g.state.Clone()
	if change != nil {
		change(s)
	}
	for _, i := range voters {
		c.Endorse(s, robotKey(i))
	}
	return &Decision{Kind: KindSetVoters, SetVoters: c}
}

// TestEndorsed: what a captured leader of four voters might make of a change of
// voters. It has its own word and none of the others'.
func TestEndorsed(t *testing.T) {
	bent := func(d *Decision, f func(c *SetVoters)) *Decision {
		f(d.SetVoters)
		return d
	}
	for _, c := range []struct {
		name string
		d    func(g *rig) *Decision
		want error
	}{
		{"by all", func(g *rig) *Decision { return g.endorsedBy(nil, 0, 1, 2, 3) }, nil},
		{"by all but the one that is dead and leaves", func(g *rig) *Decision { return g.endorsedBy(nil, 2, 0, 1) }, nil},
		{"one of them twice, which replaces its word", func(g *rig) *Decision { return g.endorsedBy(nil, 2, 0, 2, 1) }, nil},
		{"by the leader alone", func(g *rig) *Decision { return g.endorsedBy(nil, 0) }, ErrElectorate},
		{"by too few", func(g *rig) *Decision { return g.endorsedBy(nil, 0, 1) }, ErrElectorate},
		{"by nobody", func(g *rig) *Decision { return g.endorsedBy(nil) }, ErrElectorate},
		{"with the word of who enters", func(g *rig) *Decision { return g.endorsedBy(nil, 0, 1, 2, 7) }, ErrElectorate},
		{"for another swarm", func(g *rig) *Decision {
			return g.endorsedBy(func(s *State) { s.Swarm = "other" }, 0, 1, 2)
		}, ErrElectorate},
		{"for another generation", func(g *rig) *Decision {
			return g.endorsedBy(func(s *State) { s.Generation++ }, 0, 1, 2)
		}, ErrElectorate},
		{"for an earlier electorate", func(g *rig) *Decision {
			return g.endorsedBy(func(s *State) { s.Electorate.Version-- }, 0, 1, 2)
		}, ErrElectorate},
		{"under an earlier roster", func(g *rig) *Decision {
			return g.endorsedBy(func(s *State) { s.Roster.Digest = manifest.Sum([]byte("roster 0")) }, 0, 1, 2)
		}, ErrElectorate},
		{"for another seat", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0, 1, 2), func(c *SetVoters) { two := member.Index(2); c.Remove = &two })
		}, ErrElectorate},
		{"for another member", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0, 1, 2), func(c *SetVoters) { c.Add.Member++ })
		}, ErrElectorate},
		{"for removing alone", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0, 1, 2), func(c *SetVoters) { c.Add = nil })
		}, ErrElectorate},
		{"one wrong word beside enough right ones", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0, 1, 2, 3), func(c *SetVoters) { c.Endorsed[2].Sig[7] ^= 1 })
		}, ErrElectorate},
		{"one word thrice", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0), func(c *SetVoters) { c.Endorsed = slices.Repeat(c.Endorsed, 3) })
		}, ErrElectorate},
		{"out of order", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0, 1, 2), func(c *SetVoters) { slices.Reverse(c.Endorsed) })
		}, ErrElectorate},
		{"more words than there can be voters", func(g *rig) *Decision {
			return bent(g.endorsedBy(nil, 0), func(c *SetVoters) { c.Endorsed = make([]envelope.Signature, order.MaxVoters+1) })
		}, ErrElectorate},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, 10, 4, 1)
			d := c.d(g)
			if c.want != nil {
				require.ErrorIs(t, g.apply(d), c.want)
				return
			}
			require.NoError(t, d.SetVoters.Endorsable(g.state))
			require.NoError(t, g.apply(d))
			require.ErrorIs(t, g.apply(d), ErrElectorate, "once")
		})
	}
}

// TestEndorsable: a voter can ask before it gives its word.
func TestEndorsable(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	at := g.state.Digest()
	require.ErrorIs(t, g.setVoters(-1, 2).SetVoters.Endorsable(g.state), ErrElectorate)
	require.ErrorIs(t, (&SetVoters{}).Endorsable(g.state), ErrElectorate)
	require.NoError(t, g.setVoters(2, 9).SetVoters.Endorsable(g.state))
	require.Equal(t, at, g.state.Digest())
}

// TestTakeEndorsement: what a leader collects counts, or it is told at once.
func TestTakeEndorsement(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	word := func(by member.Index, remove, add member.Index) envelope.Signature {
		in := g.voter(add)
		c := &SetVoters{Remove: &remove, Add: &in}
		c.Endorse(g.state, robotKey(by))
		return c.Endorsed[0]
	}
	out, in := member.Index(3), g.voter(7)
	d := &Decision{Kind: KindSetVoters, SetVoters: &SetVoters{Remove: &out, Add: &in}}
	for _, wrong := range []envelope.Signature{word(7, 3, 7), word(0, 3, 8), word(0, 2, 7), {Key: word(0, 3, 7).Key}} {
		require.ErrorIs(t, d.SetVoters.TakeEndorsement(g.state, wrong), ErrElectorate)
	}
	require.Empty(t, d.SetVoters.Endorsed)
	for _, by := range []member.Index{2, 0, 2, 1} {
		require.NoError(t, d.SetVoters.TakeEndorsement(g.state, word(by, 3, 7)))
	}
	require.Len(t, d.SetVoters.Endorsed, 3)
	require.NoError(t, g.apply(d))
}
