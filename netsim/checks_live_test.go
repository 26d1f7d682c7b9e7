package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

func TestOverdue(t *testing.T) {
	const s = time.Second
	l := streak{}
	require.False(t, l.overdue("x", false, 10*s, 5*s, 10*s), "noticed now")
	require.False(t, l.overdue("x", false, 20*s, 5*s, 10*s), "10 s are allowed")
	require.True(t, l.overdue("x", false, 21*s, 5*s, 10*s))
	require.False(t, l.overdue("x", false, 22*s, 5*s, 10*s), "and it is not told each second")
	require.True(t, l.overdue("x", false, 32*s, 5*s, 10*s), "but again")
	require.False(t, l.overdue("x", true, 33*s, 5*s, 10*s))
	require.False(t, l.overdue("x", false, 34*s, 5*s, 10*s), "the time begins anew")
	require.False(t, l.overdue("x", false, 50*s, 40*s, 10*s), "a fault at 40 s, noticed at 50 s")
	require.False(t, l.overdue("x", false, 60*s, 40*s, 10*s))
	require.True(t, l.overdue("x", false, 61*s, 40*s, 10*s))
	require.False(t, l.overdue("y", false, 61*s, 5*s, 10*s), "another matter")
}

func TestLimitsGrow(t *testing.T) {
	small, big := limitsOf("lan", 10), limitsOf("lan", 1000)
	require.Equal(t, 10*time.Second, small.leader, "ten heartbeats")
	require.Less(t, small.members, big.members)
	require.Less(t, limitsOf("local", 10).members, small.members)
	require.Less(t, small.members, limitsOf("mesh", 10).members)
	require.Equal(t, small, limitsOf("", 10), "lan is the default")
}

func TestBehind(t *testing.T) {
	p := func(g uint32, i uint64) order.Pointer { return order.Pointer{Generation: g, Index: i} }
	newest, late := behind([]mate{{name: "a", order: p(1, 9)}, {name: "b", order: p(2, 1)}, {name: "c", order: p(2, 1)}})
	require.Equal(t, p(2, 1), newest)
	require.Equal(t, []string{"a at g1/9"}, late)
	_, late = behind([]mate{{name: "b", order: p(2, 1)}, {name: "c", order: p(2, 1)}})
	require.Empty(t, late)
}

func TestStrangers(t *testing.T) {
	want := []string{"a", "b"}
	require.Empty(t, strangers([]mate{{name: "a", alive: want}, {name: "b", alive: want}, {name: "c"}}, want))
	require.Equal(t, "b does not see [a], and sees [z]", strangers([]mate{{name: "a", alive: want}, {name: "b", alive: []string{"b", "z"}}}, want))
}

func TestRestless(t *testing.T) {
	for name, c := range map[string]struct {
		s              standing
		active, wanted bool
		want           string
	}{
		"what is active":              {standing{running: fresh, committed: fresh}, true, true, ""},
		"what is not active":          {standing{running: old, committed: old}, false, true, "runs 1.0 and not 1.1"},
		"what is not for it, or bad":  {standing{running: old, committed: old}, false, false, ""},
		"on trial":                    {standing{running: fresh, committed: old, trial: true}, false, true, "is on trial with 1.1"},
		"neither committed nor going": {standing{running: fresh, committed: old}, false, true, "runs 1.1, and has committed 1.0"},
		"off":                         {standing{committed: fresh}, true, true, "runs nothing, and has committed 1.1"},
	} {
		require.Equal(t, c.want, restless(c.s, c.active, c.wanted, "1.1"), name)
	}
}

func TestLongest(t *testing.T) {
	p := rollout.Plan{InstallDeadlineSeconds: 1, SilenceDeadlineSeconds: 2, HealthyDeadlineSeconds: 3}
	p.CanaryGate.ExposureSeconds, p.WaveGate.SoakSeconds = 10, 20
	require.Equal(t, 36*time.Second+10*time.Minute, longest(&p))
}
