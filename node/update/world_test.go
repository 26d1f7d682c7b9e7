package update

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

// epoch is when every test begins; only differences matter.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func release(version string, counter uint64) manifest.Ref {
	return manifest.Ref{Version: version, Counter: counter, Digest: manifest.Sum([]byte("release " + version))}
}

func variant(version string) *manifest.Variant {
	return &manifest.Variant{
		Name: "mk1", Manifest: manifest.Sum([]byte("image " + version)), ManifestBytes: 100, Bytes: 1000,
		Driver: "dirslot", Run: []string{"bin/nav"},
	}
}

func content(version string, counter uint64) SlotRecord {
	v := variant(version)
	return SlotRecord{Release: release(version, counter), Variant: v.Name, Manifest: v.Manifest, Run: v.Run, Driver: v.Driver}
}

// behaviour is what a release does in a world, by its image.
type behaviour struct {
	unwell  bool          // its probes fail
	exits   bool          // it ends at once, each time
	later   time.Duration // it ends so long after each start, but only once committed
	noStart bool
}

// cut is thrown when power is lost or the daemon killed in the middle of a step.
type cut struct{ power bool }

// A world is a robot: what outlives the daemon, and a driver that executes actions
// and can be cut before and after each of their effects.
type world struct {
	t    *testing.T
	now  time.Time
	u    *Updater
	disk []byte // the record; nil is none

	linked, marked, running bool
	link, mark, slot        Slot
	image                   [2]manifest.Digest // what lies in a slot; zero is rubbish
	staged                  [2]bool            // read back since it was last written
	committed               map[manifest.Digest]bool
	trials                  map[manifest.Digest]int // starts of an image before its commit
	mostTrials              int                     // of one image
	quiet                   time.Duration           // how long nothing is done before a robot counts as being at rest
	behaves                 map[manifest.Digest]behaviour
	startedAt               time.Time

	order   func() []Event // what the newest order says, brought after each restart
	queue   []Event
	effects int // so far
	cutAt   int // the effect that is not reached; -1 is none
	power   bool
	fired   bool
	saveBad bool
	story   []chapter
}

func newWorld(t *testing.T, cutAt int, power bool) *world {
	return &world{
		t: t, now: epoch, cutAt: cutAt, power: power, committed: map[manifest.Digest]bool{},
		trials: map[manifest.Digest]int{}, mostTrials: MaxAttempts, quiet: time.Minute, behaves: map[manifest.Digest]behaviour{}, order: func() []Event { return nil },
	}
}

// A chapter is one step of a world's story.
type chapter struct {
	now     time.Time
	event   Event
	actions []Action
}

// tell prints what happened last, when the test has failed.
func (w *world) tell() {
	if !w.t.Failed() {
		return
	}
	for _, c := range w.story[max(0, len(w.story)-60):] {
		w.t.Logf("+%v %s %v", c.now.Sub(epoch), c.event, c.actions)
	}
}

// withBaseline lets v1 run from slot a, as after `starling adopt`.
func (w *world) withBaseline() *world {
	rec := Baseline("app", A, content("v1", 1))
	w.disk, w.image[A], w.staged[A] = rec.Encode(), variant("v1").Manifest, true
	w.committed[w.image[A]] = true
	w.linked, w.marked, w.running = true, true, true
	return w
}

// effect is a place where the cut can fall.
func (w *world) effect() {
	w.effects++
	if w.effects == w.cutAt {
		w.fired = true
		panic(cut{w.power})
	}
}

// boot makes a new Updater from what is on disk.
func (w *world) boot() {
	rec := NewRecord("app")
	if w.disk != nil {
		var err error
		rec, err = DecodeRecord(w.disk)
		require.NoError(w.t, err)
	}
	w.u, w.queue = New(rec, Config{}), nil
	w.queue = append([]Event{Restarted{
		Linked: w.linked, Link: w.link, Marked: w.marked, Mark: w.mark, Running: w.running, Slot: w.slot,
	}}, w.order()...)
}

// play runs for limit, or until the robot is at rest, through cuts.
func (w *world) play(limit time.Duration) {
	end := w.now.Add(limit)
	for last, since := -1, w.now; w.now.Before(end) && w.now.Sub(since) < w.quiet; {
		if w.effects != last {
			last, since = w.effects, w.now
		}
		func() {
			defer func() {
				switch c := recover().(type) {
				case nil:
				case cut:
					if c.power {
						w.running = false
					}
					w.boot()
				default:
					panic(c)
				}
			}()
			w.round()
		}()
	}
}

// round brings what waits, else a probe, else time.
func (w *world) round() {
	if w.u == nil {
		w.boot()
	}
	if len(w.queue) == 0 {
		w.now = w.now.Add(5 * time.Second)
		w.queue = w.happens()
	}
	e := w.queue[0]
	w.queue = w.queue[1:]
	w.step(e)
}

// happens is what the payload and the clock do within five seconds.
func (w *world) happens() []Event {
	if !w.running {
		return []Event{Tick{}}
	}
	b := w.behaves[w.image[w.slot]]
	dies := b.exits || (b.later > 0 && w.committed[w.image[w.slot]] && w.now.Sub(w.startedAt) >= b.later)
	if dies {
		w.running = false
		return []Event{Tick{}, PayloadExited{Slot: w.slot, Reason: "exit status 1"}}
	}
	return []Event{Tick{}, Probe{OK: !b.unwell, Reason: "probe web: no answer"}}
}

func (w *world) step(e Event) {
	actions := w.u.Step(w.now, e)
	w.story = append(w.story, chapter{w.now, e, actions})
	if err := w.u.check(); err != nil {
		w.t.Fatalf("after %s: %v", e, err)
	}
	saved := false
	for _, a := range actions {
		w.effect()
		if s, ok := a.(Save); ok && w.saveBad {
			w.step(SaveFailed{"no space left on device"})
			return
		} else if ok {
			w.disk = s.Record.Encode()
			if s.Record.HasCommitted {
				w.committed[w.image[s.Record.Committed]] = true
			}
			w.effect()
			saved = true
			continue
		}
		w.execute(a)
		w.effect()
	}
	if saved {
		w.step(Saved{}) // before any other event
	}
}

func (w *world) later(e Event) { w.queue = append(w.queue, e) }

func (w *world) execute(a Action) {
	switch a := a.(type) {
	case Fetch:
		if w.running && w.slot == a.Slot {
			w.t.Fatal("writes into the slot that runs")
		}
		w.image[a.Slot], w.staged[a.Slot] = manifest.Digest{}, false
		w.effect()
		w.image[a.Slot] = a.Variant.Manifest
		w.later(FetchDone{a.Op})
	case Stage:
		w.staged[a.Slot] = w.image[a.Slot] == a.Content.Manifest
		if !w.staged[a.Slot] {
			w.later(StageFailed{Op: a.Op, Err: "chunk 3 differs", Damaged: true})
			return
		}
		w.later(StageDone{a.Op})
	case Arm:
		w.later(Granted{a.Op})
	case Switch:
		w.running = false
		w.effect()
		w.linked, w.link = true, a.To
		w.effect()
		w.start(a.To, a.Op)
	case Start:
		w.running = false
		w.start(a.Slot, a.Op)
	case Stop:
		w.running = false
		w.later(Stopped(a))
	case Commit:
		w.marked, w.mark = true, a.Slot
		w.later(CommitDone{a.Op})
	}
}

func (w *world) start(s Slot, op uint32) {
	d := w.image[s]
	require.True(w.t, w.staged[s], "starts slot %s, which was not read back", s)
	if !w.committed[d] {
		w.trials[d]++
		require.LessOrEqual(w.t, w.trials[d], w.mostTrials, "an uncommitted release is started too often")
	}
	if w.behaves[d].noStart {
		w.later(ActivateFailed{Op: op, Err: "no such file"})
		return
	}
	w.running, w.slot, w.startedAt = true, s, w.now
	w.later(Activated{op})
}

// settled states what holds once a robot has come to rest.
func (w *world) settled(context string) {
	r := w.u.Record()
	require.NotEqual(w.t, member.Trial, r.Phase, context)
	require.NotEqual(w.t, member.Reverting, r.Phase, context)
	if loops := w.behaves[w.image[r.Committed]].later > 0; loops && !w.running {
		return // it has just ended again, and there is nothing to fall back to
	}
	require.Equal(w.t, r.HasCommitted, w.running, "%s: %s", context, w.u.Status())
	if w.running {
		require.Equal(w.t, r.Committed, w.slot, context)
		require.True(w.t, w.committed[w.image[w.slot]], "%s: runs what was never committed", context)
		require.Equal(w.t, r.Slots[w.slot].Manifest, w.image[w.slot], context)
		require.True(w.t, w.linked && w.link == w.slot, "%s: the link points elsewhere", context)
		require.True(w.t, w.marked && w.mark == w.slot, "%s: the mark stands elsewhere", context)
	}
	rec, err := DecodeRecord(w.disk)
	require.NoError(w.t, err, context)
	require.Equal(w.t, rec.Committed, r.Committed, context)
}

func (w *world) runs() string {
	if !w.running {
		return "nothing"
	}
	for _, v := range []string{"v1", "v2", "v3"} {
		if w.image[w.slot] == variant(v).Manifest {
			return v
		}
	}
	return fmt.Sprintf("rubbish in %s", w.slot)
}
