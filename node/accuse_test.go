package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

func TestAVoterThatSignedTwiceIsShown(t *testing.T) {
	liar, stranger := seedKey(1), seedKey(2)
	say := func(swarm string, index uint64, text string) order.Statement {
		return order.Statement{Swarm: swarm, Generation: 1, Index: index, Order: manifest.Sum([]byte(text))}
	}
	word := func(s order.Statement, as int) []byte {
		k := liar
		if as == 2 {
			k = stranger
		}
		return consensus.SignedStatement{Statement: s, Signature: s.Sign(k)}.Encode()
	}
	forged := func(s order.Statement) []byte {
		sig := s.Sign(stranger)
		sig.Key = envelope.KeyOf(liar)
		return consensus.SignedStatement{Statement: s, Signature: sig}.Encode()
	}
	a, b := say("orchard", 7, "this"), say("orchard", 7, "that")

	e, err := openEvents(filepath.Join(t.TempDir(), "history"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.close()) })
	n := &Node{keeper: &keeper{}, events: e, wake: newBroadcast(), log: slog.New(slog.DiscardHandler)}
	v := View{Swarm: "orchard", Roster: &member.Roster{Members: []member.Member{{Index: 0, ID: "op"}, {Index: 1, ID: "r01", Key: envelope.KeyOf(liar)}}}}
	n.keeper.show(v)
	accuse := func(a, b []byte) error {
		_, err := n.answerAccuse(context.Background(), envelope.Key{}, canonical.Encode(accusation{Format: accuseFormat, A: a, B: b}))
		return err
	}
	for name, pair := range map[string][2][]byte{
		"the same twice":       {word(a, 1), word(a, 1)},
		"two indexes":          {word(a, 1), word(say("orchard", 8, "that"), 1)},
		"another swarm":        {word(say("south", 7, "this"), 1), word(say("south", 7, "that"), 1)},
		"two voters":           {word(a, 1), word(b, 2)},
		"a forged signature":   {word(a, 1), forged(b)},
		"the other one forged": {forged(a), word(b, 1)},
	} {
		require.ErrorIs(t, accuse(pair[0], pair[1]), errNoProof, name)
	}
	require.ErrorIs(t, accuse(word(a, 2), word(b, 2)), errStranger)
	require.Empty(t, n.hostile(&v))
	require.Empty(t, n.accused.of(&v))

	require.NoError(t, accuse(word(a, 1), word(b, 1)))
	require.NoError(t, accuse(word(a, 1), word(say("orchard", 7, "third"), 1)), "known")
	require.Len(t, n.hostile(&v), 1)
	require.Len(t, n.events.since(0), 1)
	require.Equal(t, "r01 signed two orders for g1/7: it is in the wrong hands, or its disk forgets, or two machines hold its key", n.hostile(&v)[0].Text)
	require.Len(t, n.accused.of(&v), 1)
	require.LessOrEqual(t, len(n.accused.of(&v)[0]), maxAccuseBytes)

	v.Roster = nextRoster(v.Roster)
	v.Roster.Members[1].Revoked = true
	require.Empty(t, n.hostile(&v), "it is out, and there is nothing left to do")
	require.Empty(t, n.accused.of(&v))
}
