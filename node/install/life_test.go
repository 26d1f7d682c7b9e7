package install

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/install/recordfile"
	"github.com/starling-swarm/starling/node/update"
)

// A life is the smallest daemon: the machine, the record on disk, and real
// processes in real slots. It can die before any action.
type life struct {
	robot
	u    *update.Updater
	d    *DirSlot
	file *recordfile.File
	now  time.Time
	left int // actions until the daemon dies; negative is never
}

// born starts a daemon on what the last one left behind.
func (l *life) born() []update.Event {
	l.d = l.driver()
	rec, err := l.file.Load()
	require.NoError(l.t, err)
	l.u = update.New(rec, update.Config{})
	f, err := l.d.Find(bounded(l.t))
	require.NoError(l.t, err)
	digest := manifest.Sum([]byte("v2"))
	return []update.Event{f.Event(false), update.Wanted{
		Release: manifest.Ref{Version: "2.0.0", Counter: 2, Digest: digest}, MayArm: true, Rollout: 1,
		Variant:    &manifest.Variant{Name: "mk1", Manifest: digest, Driver: "dirslot", Run: []string{"run"}},
		MinHealthy: 10 * time.Second, HealthyDeadline: time.Minute,
	}}
}

// do executes one action; false is the daemon's death.
func (l *life) do(a update.Action) (answer update.Event, alive bool) {
	if l.left == 0 {
		l.left--
		return nil, false
	}
	l.left--
	ctx := bounded(l.t)
	payload := func(s update.Slot, c update.SlotRecord) Payload {
		return Payload{Slot: s, Release: c.Release, Manifest: c.Manifest, Run: c.Run}
	}
	started := func(op uint32, err error) update.Event {
		if err != nil {
			return update.ActivateFailed{Op: op, Err: err.Error()}
		}
		l.up()
		return update.Activated{Op: op}
	}
	switch a := a.(type) {
	case update.Save:
		require.NoError(l.t, l.file.Save(a.Record))
		return update.Saved{}, true
	case update.Fetch:
		l.write(a.Slot, ready)
		return update.FetchDone{Op: a.Op}, true
	case update.Stage:
		return update.StageDone{Op: a.Op}, true
	case update.Arm:
		return update.Granted{Op: a.Op}, true
	case update.Switch:
		return started(a.Op, l.d.Activate(ctx, payload(a.To, a.Content), a.Back)), true
	case update.Start:
		return started(a.Op, l.d.Start(ctx, payload(a.Slot, a.Content))), true
	case update.Commit:
		require.NoError(l.t, l.d.Commit(ctx, payload(a.Slot, a.Content)))
		return update.CommitDone{Op: a.Op}, true
	}
	return nil, true
}

// live runs until the update has ended, through the deaths of the daemon.
func (l *life) live(well bool) {
	events := l.born()
	for round := 0; round < 200; round++ {
		if len(events) == 0 {
			if p := l.u.Record().Phase; p == member.Reverted || p == member.Committed {
				return
			}
			l.now = l.now.Add(2 * time.Second)
			events = []update.Event{update.Probe{OK: well, Reason: "probe"}, update.Tick{}}
		}
		e := events[0]
		events = events[1:]
		var saved []update.Event
		for _, a := range l.u.Step(l.now, e) {
			answer, alive := l.do(a)
			if !alive {
				events, saved = l.born(), nil
				break
			}
			if _, ok := answer.(update.Saved); ok {
				saved = []update.Event{answer}
			} else if answer != nil {
				events = append(events, answer)
			}
		}
		events = append(saved, events...)
	}
	l.t.Fatal("the update did not end")
}

// TestDaemonDies kills the daemon before every action of a good and of a bad update.
// The payload lives on, or the next daemon starts the right one; there is never a
// second.
func TestDaemonDies(t *testing.T) {
	for _, well := range []bool{true, false} {
		for left := range 14 {
			t.Run(fmt.Sprintf("well %v, after %d actions", well, left), func(t *testing.T) {
				l := &life{robot: robot{t, t.TempDir()}, now: time.Now(), left: left}
				l.file = recordfile.New(filepath.Join(l.root, "app.record"), "app")
				old := manifest.Sum([]byte("v1"))
				d := l.driver()
				require.NoError(t, d.Activate(bounded(t), l.write(update.A, ready), false))
				first := l.up()
				require.NoError(t, l.file.Save(update.Baseline("app", update.A, update.SlotRecord{
					Release: manifest.Ref{Version: "1.0.0", Counter: 1, Digest: old}, Manifest: old, Run: []string{"run"},
				})))
				l.live(well)
				f, err := l.driver().Find(bounded(t))
				require.NoError(t, err)
				require.True(t, f.Running)
				require.Equal(t, f.Link, f.Slot)
				want := map[bool]update.Slot{true: update.B, false: update.A}[well]
				require.Equal(t, want, f.Slot, "%s", l.u.Status())
				require.False(t, running(first), "the payload of before still runs")
				require.NoError(t, l.d.Stop(context.Background()))
			})
		}
	}
}
