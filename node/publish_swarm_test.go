package node

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node/join"
)

// addLaptop lets a second operator's node in, which does not vote.
func (s *swarm) addLaptop(name string) *member0 {
	i, err := join.New(join.Invite{
		Swarm: "orchard-3", Root: s.op.View().Root, Operator: s.op.key(), Addrs: []string{s.op.bulk.Addr().String()},
		NoVote: true, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(s.t, err)
	require.NoError(s.t, s.op.operator.book.Add(i))
	cfg := loopback(filepath.Join(s.dir, name))
	cfg.Name, cfg.Invite, cfg.OperatorKey = name, i, s.operator
	return s.start(cfg)
}

// Two laptops publish at the same moment: one is first, the other is told so at once
// and publishes again upon that; in the end both releases are the swarm's.
func TestOfTwoLaptopsTheSecondIsTold(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4)
	s.wait("the swarm has started", func() bool { return s.op.View().Order != nil })
	south := s.addLaptop("south")
	s.wait("both laptops have what is decided", func() bool {
		return south.taking() && south.View().Order != nil && south.View().Me() != nil &&
			s.op.View().Trust.Ref() == south.View().Order.Trust && s.op.View().RosterRef == s.op.View().Order.Roster
	})
	laptops := []*member0{s.op, south}
	base := s.op.View().Trust.Bundle()
	var rels []*manifest.Release
	var bundles []*trust.Bundle
	for _, v := range []string{"1.1.0", "1.3.0"} {
		rel := s.build(v, filepath.Join(s.dir, v+".star"))
		b, err := trust.Publish(base, []*manifest.Release{rel}, s.signers(), time.Now())
		require.NoError(t, err)
		rels, bundles = append(rels, rel), append(bundles, b)
	}
	type outcome struct {
		published bool
		err       error
	}
	outcomes := []chan outcome{make(chan outcome, 1), make(chan outcome, 1)}
	for i, l := range laptops {
		go func() {
			ok, err := l.TakeTrust(s.ctx, bundles[i].Encode())
			outcomes[i] <- outcome{ok, err}
		}()
	}
	first, second := <-outcomes[0], <-outcomes[1]
	loser, lost, won := 1, second, first
	if first.err != nil {
		loser, lost, won = 0, first, second
	}
	require.NoError(t, won.err)
	require.True(t, won.published)
	require.ErrorIs(t, lost.err, ErrOvertaken)
	require.ErrorContains(t, lost.err, rels[loser].Version+" of app was not published")
	l := laptops[loser]
	require.True(t, told(l.Events(0), rels[loser].Version))

	rel := rels[loser]
	rel.Counter = 9 // the other one took its place
	b, err := trust.Publish(l.View().Trust.Bundle(), []*manifest.Release{rel}, s.signers(), time.Now())
	require.NoError(t, err)
	ok, err := l.TakeTrust(s.ctx, b.Encode())
	require.NoError(t, errors.Join(err, s.ctx.Err()))
	require.True(t, ok)
	for _, l := range laptops {
		s.wait("both are listed", func() bool {
			return len(l.View().Trust.Releases()) == 2 && l.View().Trust.Ref() == l.View().Order.Trust
		})
	}
}

func told(all []Event, version string) bool {
	for _, e := range all {
		if e.Kind == "not-published" && strings.Contains(e.Text, version) {
			return true
		}
	}
	return false
}
