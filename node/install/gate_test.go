package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/update"
)

func TestGatePermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGate(GatePermit, "")
		require.NoError(t, err)
		require.Equal(t, GateState{Mode: GatePermit, Reason: "no permit"}, g.State())
		require.NoError(t, g.Grant("nav", time.Minute))
		<-g.Changed()
		require.True(t, g.State().Open)
		require.Equal(t, time.Now().Add(time.Minute), g.State().Next)
		require.Equal(t, update.GateOpen{}, g.State().Event())
		time.Sleep(59 * time.Second) // virtual
		require.NoError(t, g.Grant("nav", time.Minute))
		time.Sleep(59 * time.Second)
		require.True(t, g.State().Open)
		time.Sleep(time.Second)
		require.False(t, g.State().Open, "expiry closes")
		require.Equal(t, update.GateClosed{Reason: "no permit"}, g.State().Event())
		require.NoError(t, g.Grant("nav", time.Minute))
		require.NoError(t, g.Release("nav"))
		require.False(t, g.State().Open)
		require.ErrorIs(t, g.Hold("nav", time.Minute, ""), ErrGateMode)
		for _, err := range []error{g.Grant("", time.Minute), g.Grant("nav", 0), g.Grant("nav", MaxLease+1)} {
			require.ErrorIs(t, err, ErrLease)
		}
		for i := range MaxLeases {
			require.NoError(t, g.Grant(fmt.Sprintf("o%d", i), time.Minute))
		}
		require.ErrorIs(t, g.Grant("one-more", time.Minute), ErrLease)
		require.NoError(t, g.Grant("o3", time.Minute), "a renewal is no new one")
	})
}

func TestGateHold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hold")
	synctest.Test(t, func(t *testing.T) {
		g, err := NewGate(GateHold, path)
		require.NoError(t, err)
		require.True(t, g.State().Open)
		require.NoError(t, g.Hold("pilot", time.Minute, "airborne"))
		require.Equal(t, update.GateClosed{Hold: true, Reason: "held by pilot: airborne"}, g.State().Event())
		require.ErrorIs(t, g.Grant("pilot", time.Minute), ErrGateMode)

		again, err := NewGate(GateHold, path)
		require.NoError(t, err)
		require.False(t, again.State().Open, "a hold survives a restart")
		time.Sleep(time.Minute) // virtual
		require.True(t, again.State().Open, "expiry opens")

		require.NoError(t, g.Hold("pilot", time.Minute, ""))
		require.NoError(t, g.Release("pilot"))
		again, err = NewGate(GateHold, path)
		require.NoError(t, err)
		require.True(t, again.State().Open)

		require.NoError(t, os.WriteFile(path, []byte("{torn"), 0o600))
		again, err = NewGate(GateHold, path)
		require.NoError(t, err)
		require.False(t, again.State().Open, "somebody may have held it")
		time.Sleep(lostHold)
		require.True(t, again.State().Open)
	})
	_, err := NewGate(GateHold, "")
	require.Error(t, err)
	_, err = NewGate("ajar", "")
	require.Error(t, err)
	g, err := NewGate(GateNone, "")
	require.NoError(t, err)
	require.True(t, g.State().Open)
}

func FuzzLeases(f *testing.F) {
	f.Add([]byte(`{"format":1,"leases":[{"owner":"pilot","seconds":60}]}`))
	f.Add([]byte(`{"format":1,"leases":[{"owner":"","seconds":-1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, ok := parseLeases(data); ok {
			require.LessOrEqual(t, len(l.Leases), MaxLeases)
		}
	})
}

// scripted is a prober that answers by the clock.
type scripted func(since time.Duration) error

func (s scripted) at(begin time.Time) Prober { return asked{s, begin} }

type asked struct {
	f     scripted
	begin time.Time
}

func (a asked) Probe(context.Context) error { return a.f(time.Since(a.begin)) }

func TestProbes(t *testing.T) {
	bad := errors.New("no answer")
	for name, c := range map[string]struct {
		start time.Duration
		f     scripted
		want  []string // the first results, with their times
	}{
		"well":                      {0, func(time.Duration) error { return nil }, []string{"0s ok", "2s ok", "4s ok"}},
		"fails three times":         {0, func(time.Duration) error { return bad }, []string{"4s probe web: no answer", "6s probe web: no answer"}},
		"time to come up":           {10 * time.Second, func(time.Duration) error { return bad }, []string{"14s probe web: no answer"}},
		"up early, then fails":      {time.Hour, func(d time.Duration) error { return map[bool]error{true: bad}[d > 0] }, []string{"0s ok", "6s probe web: no answer"}},
		"two failures are no three": {0, func(d time.Duration) error { return map[bool]error{true: bad}[d%(6*time.Second) != 0] }, []string{"0s ok", "6s ok", "12s ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p, err := NewProbes([]Watch{{Name: "web", Prober: c.f.at(begin), StartAfter: c.start}})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				for _, want := range c.want {
					r := <-p.Results()
					got := time.Since(begin).String() + " " + r.Reason
					if r.OK {
						got += "ok"
					}
					require.Equal(t, want, got)
				}
				cancel()
				require.NoError(t, <-done)
			})
		})
	}
}

// TestProbesFold lets one of two probes be unwell: that is not health, and not yet
// failure.
func TestProbesFold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		limps := scripted(func(d time.Duration) error {
			if d < 3*time.Second {
				return errors.New("limps")
			}
			return nil
		})
		p, err := NewProbes([]Watch{
			{Name: "ok", Prober: scripted(func(time.Duration) error { return nil }).at(begin)},
			{Name: "limps", Prober: limps.at(begin)},
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		r := <-p.Results()
		require.True(t, r.OK)
		require.Equal(t, 4*time.Second, time.Since(begin))
		cancel()
		require.NoError(t, <-done)
	})
	_, err := NewProbes([]Watch{{Name: "x", Prober: FileProbe{}}, {Name: "x", Prober: FileProbe{}}, {Name: "y"}})
	require.ErrorContains(t, err, `two probes are called "x"`)
	require.ErrorContains(t, err, `probe "y"`)
	synctest.Test(t, func(t *testing.T) {
		p, err := NewProbes(nil)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		require.True(t, (<-p.Results()).OK, "without probes a payload is well as long as it runs")
		cancel()
		require.NoError(t, <-done)
	})
}
