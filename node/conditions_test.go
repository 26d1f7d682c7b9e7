package node

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

func TestWhatConditionsLack(t *testing.T) {
	now := time.Unix(1000, 0)
	later := now.Add(time.Minute)
	for name, tt := range map[string]struct {
		need   []Condition
		said   map[Condition]bool
		closed string
		at     time.Time
		want   string
	}{
		"nothing is needed":     {nil, nil, "app: in the air", now, ""},
		"nobody says":           {[]Condition{Charging}, nil, "", now, "nobody says that it is charging"},
		"said yes":              {[]Condition{Charging}, map[Condition]bool{Charging: true}, "", now, ""},
		"said no":               {[]Condition{Charging, Still}, map[Condition]bool{Charging: true, Still: false}, "", now, "not still"},
		"the word has expired":  {[]Condition{Still}, map[Condition]bool{Still: true}, "", later, "nobody says that it is still"},
		"a gate is closed":      {[]Condition{Idle}, nil, "app: in the air", now, "not idle (app: in the air)"},
		"all gates are open":    {[]Condition{Idle}, nil, "", now, ""},
		"several are not there": {[]Condition{Charging, Still, Idle}, nil, "app: x", now, "not idle (app: x), nobody says that it is charging or still"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := newConditions(tt.need)
			require.NoError(t, err)
			c.say(tt.said, later)
			require.Equal(t, tt.want, c.lacks(tt.need, tt.at, tt.closed))
		})
	}
	_, err := newConditions([]Condition{"flying"})
	require.ErrorIs(t, err, ErrConfig)
}

// A robot that must charge to fetch waits, and says so to all who ask; charging, it
// installs.
func TestARobotWaitsUntilItCharges(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.noCanary = true
	s.wait("1.0.0", s.all("1.0.0"))
	m := s.again(3, func(c *Config) { c.OnlyWhen = []Condition{Charging} })
	star := filepath.Join(s.dir, "1.1.0.star")
	rel := s.build("1.1.0", star)
	s.publish(rel, star)
	s.rollOut(rel)
	s.wait("the robot waits", func() bool {
		st := m.Status()
		return len(st.Here) == 1 && st.Here[0].Reason == waitsPrefix+"nobody says that it is charging"
	})
	id := string(m.View().ID)
	s.wait("the operator's node knows why", func() bool {
		x, err := s.op.Explain(id)
		return err == nil && x.Code == "fetch_waits"
	})
	require.Equal(t, "nobody says that it is charging", m.Status().Transfer.Waits)
	_, err := m.SetConditions(ConditionsRequest{Words: map[Condition]bool{Idle: true}, Seconds: 60})
	require.ErrorIs(t, err, ErrRequest)
	c, err := m.SetConditions(ConditionsRequest{Words: map[Condition]bool{Charging: true}, Seconds: 600})
	require.NoError(t, err)
	require.True(t, c.Hold)
	s.wait("1.1.0 everywhere", s.all("1.1.0"))
	kinds := map[string]bool{}
	for _, e := range m.Events(0) {
		kinds[e.Kind] = true
	}
	require.True(t, kinds["fetch-waits"] && kinds["fetch-goes-on"])
	require.Equal(t, member.Good.String(), m.Status().Here[0].Result)
}

// A robot that may not fetch takes what it is given on a stick, though it waits already;
// a whole image needs no condition.
func TestAStickNeedsNoCondition(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.noCanary = true
	s.wait("1.0.0", s.all("1.0.0"))
	m := s.again(3, func(c *Config) { c.OnlyWhen, c.Interfaces = []Condition{Charging}, []string{"wlan77"} })
	star := filepath.Join(s.dir, "1.1.0.star")
	rel := s.build("1.1.0", star)
	s.publish(rel, star)
	s.rollOut(rel)
	why := waitsPrefix + "no interface wlan77 with an address is here, nobody says that it is charging"
	s.wait("the robot waits", func() bool { return len(m.Status().Here) == 1 && m.Status().Here[0].Reason == why })
	_, err := m.Import(s.ctx, star)
	require.NoError(t, err)
	s.wait("1.1.0 everywhere", s.all("1.1.0"))
	require.NotEmpty(t, m.Status().Transfer.Waits)
}

// again starts robot i anew with another configuration, and waits until it takes part.
func (s *swarm) again(i int, change func(*Config)) *member0 {
	m := s.robots[i]
	m.stop()
	<-m.gone
	change(&m.cfg)
	s.robots[i] = s.restart(m)
	s.wait("it takes part again", s.robots[i].taking)
	return s.robots[i]
}

// A fetch ends when a condition does not hold any more, and is begun again when it does.
func TestAFetchIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &robot{n: &Node{wake: newBroadcast(), telling: make(chan struct{}, 1), ways: newWays(nil), keeper: &keeper{}}}
		r.n.keeper.view.Store(&View{})
		var err error
		r.n.conditions, err = newConditions([]Condition{Still})
		require.NoError(t, err)
		r.n.events, err = openEvents(t.TempDir() + "/history")
		require.NoError(t, err)
		defer r.n.events.close()
		say := func(holds bool) { r.n.conditions.say(map[Condition]bool{Still: holds}, time.Now().Add(time.Hour)) }
		say(true)
		begun := 0
		time.AfterFunc(10*time.Second, func() { say(false) })
		time.AfterFunc(60*time.Second, func() { say(true) })
		start := time.Now()
		require.NoError(t, r.underConditions(t.Context(), manifest.Digest{}, func(ctx context.Context) error {
			begun++
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(30 * time.Second):
				return nil
			}
		}))
		require.Equal(t, 2, begun)
		require.InDelta(t, 90, time.Since(start).Seconds(), 2)
		require.Empty(t, r.waiting())
	})
}
