package gossip

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The least round trip counts, and fades when the member has moved away.
func TestRoundTrips(t *testing.T) {
	var m Membership
	require.Zero(t, m.RoundTrip(7), "never probed")
	for _, ms := range []time.Duration{30, 10, 400} {
		m.trips.note(7, ms*time.Millisecond)
	}
	require.Equal(t, 11250*time.Microsecond, m.RoundTrip(7), "a queue does not make it farther")
	for range 30 {
		m.trips.note(7, 80*time.Millisecond)
	}
	require.Equal(t, 80*time.Millisecond, m.RoundTrip(7))
	require.Zero(t, m.RoundTrip(8))
}

// The newest probe is told beside what its member took before it.
func TestProbe(t *testing.T) {
	var m Membership
	require.Zero(t, m.Probe())
	m.trips.note(7, 20*time.Millisecond)
	require.Equal(t, Probe{1, 20 * time.Millisecond, 0}, m.Probe())
	m.trips.note(7, 300*time.Millisecond)
	require.Equal(t, Probe{2, 300 * time.Millisecond, 20 * time.Millisecond}, m.Probe())
}

// Members of a large swarm change their metadata less often, or gossip carries nothing else.
func TestMetaIntervalGrowsWithTheSwarm(t *testing.T) {
	for _, c := range []struct {
		profile Profile
		members int
		want    time.Duration
	}{
		{LAN, 5, time.Second}, {LAN, 100, 10 * time.Second}, {Mesh, 5, 10 * time.Second}, {Mesh, 100, 40 * time.Second},
		{Local, 100, 100 * time.Millisecond}, {Narrow, 5, 30 * time.Second}, {Narrow, 100, 200 * time.Second},
	} {
		require.Equal(t, c.want, c.profile.MetaInterval(c.members), "%v %d", c.profile, c.members)
	}
}
