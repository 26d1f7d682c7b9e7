package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
)

// truth is what really happened to the payloads, whatever the nodes say. The robots'
// own goroutines write it, the story's reads it.
type truth struct {
	w *World

	mu    sync.Mutex
	parts map[*payload]*standing // guarded by mu
	notes []Note                 // guarded by mu: oldest first
	out   int                    // guarded by mu: robots out of service now
	worst int                    // guarded by mu: the most there ever were
	acts  []act                  // guarded by mu: oldest first
}

// standing is how one payload stands.
type standing struct {
	running   manifest.Ref      // what was started last; zero while nothing runs
	committed manifest.Ref      // zero before the first
	trial     bool              // activated, and neither committed nor gone back since
	out       bool              // out of service by an update: stopped for one, or on trial
	ran       []manifest.Digest // every release that was ever started, in that order
}

// A Note is one thing that happened.
type Note struct {
	At      time.Duration `json:"at"` // since the start
	Machine string        `json:"machine"`
	Kind    string        `json:"kind"` // "activate", "commit", "order", "fault", …
	Text    string        `json:"text"`
}

func newTruth(w *World) *truth { return &truth{w: w, parts: map[*payload]*standing{}} }

// of is the standing of p; the caller holds mu.
func (t *truth) of(p *payload) *standing {
	s := t.parts[p]
	if s == nil {
		s = &standing{}
		t.parts[p] = s
	}
	return s
}

// standing is how p stands now.
func (t *truth) standing(p *payload) standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := *t.of(p)
	s.ran = slices.Clone(s.ran)
	return s
}

// note writes down what happened.
func (t *truth) note(machine, kind, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(machine, kind, format, args...)
}

func (t *truth) noteLocked(machine, kind, format string, args ...any) {
	t.add(Note{time.Since(Start), machine, kind, fmt.Sprintf(format, args...)})
}

func (t *truth) add(n Note) {
	t.notes = append(t.notes, n)
	t.w.trace.Event("%s %s %s", n.Machine, n.Kind, n.Text)
	if t.w.events != nil {
		t.w.events.Event("%s %s %s", n.Machine, n.Kind, n.Text)
	}
}

// says writes down what a node has said of itself, and when it did.
func (t *truth) says(at time.Duration, machine string, e node.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(Note{at, machine, e.Kind, e.Text})
}

// since returns the notes from number n on.
func (t *truth) since(n int) []Note {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.notes[n:len(t.notes):len(t.notes)]
}

// setOut counts robots out of service.
func (t *truth) setOut(s *standing, out bool) {
	if s.out == out {
		return
	}
	s.out = out
	if out {
		t.out++
	} else {
		t.out--
	}
	t.worst = max(t.worst, t.out)
}

func (t *truth) activates(p *payload, to install.Payload, back bool) {
	wrong := t.wrongBytes(p, to)
	t.mu.Lock()
	s := t.of(p)
	was := *s
	s.running, s.trial = to.Release, !back && s.committed != to.Release
	s.ran = append(s.ran, to.Release.Digest)
	t.setOut(s, !back && !was.committed.IsZero())
	verb := "activates"
	if back {
		verb = "goes back to"
	}
	t.noteLocked(p.r.name, "activate", "%s %s", verb, to.Release)
	t.acted(p, map[bool]string{false: Activated, true: WentBack}[back], to.Release)
	t.mu.Unlock()
	t.w.checks.activates(p, was, to, back, wrong)
}

func (t *truth) starts(p *payload, what install.Payload) {
	wrong := t.wrongBytes(p, what)
	t.mu.Lock()
	s := t.of(p)
	was := *s
	s.running = what.Release
	s.ran = append(s.ran, what.Release.Digest)
	if s.trial && what.Release == s.committed { // the trial is given up
		s.trial = false
		t.setOut(s, false)
	}
	t.noteLocked(p.r.name, "start", "starts %s", what.Release)
	t.mu.Unlock()
	t.w.checks.starts(p, was, what, wrong)
}

func (t *truth) commits(p *payload, what install.Payload) {
	t.mu.Lock()
	s := t.of(p)
	was := *s
	s.committed, s.trial = what.Release, false
	t.setOut(s, false)
	t.acted(p, Committed, what.Release)
	t.noteLocked(p.r.name, "commit", "commits %s", what.Release)
	t.mu.Unlock()
	t.w.checks.commits(p, was, what)
}

func (t *truth) stops(p *payload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(p).running = manifest.Ref{}
}

func (t *truth) powerOff(p *payload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(p).running = manifest.Ref{}
}

// errNotAgreed is wrapped when a release is none that the owner signed for a robot.
var errNotAgreed = errors.New("not agreed")

// wrongBytes compares a slot with what was built, byte for byte.
func (t *truth) wrongBytes(p *payload, what install.Payload) error {
	rel := t.w.release(what.Release.Digest)
	if rel == nil {
		return fmt.Errorf("%w: %s was never built", errNotAgreed, what.Release)
	}
	files, ok := rel.files[p.r.model]
	if !ok {
		if files, ok = rel.files[""]; !ok {
			return fmt.Errorf("%w: no variant of %s is for model %q", errNotAgreed, what.Release, p.r.model)
		}
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(p.SlotDir(what.Slot), name))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s of %s differs from what was built", name, what.Release)
		}
	}
	return nil
}
