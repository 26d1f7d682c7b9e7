package netsim

import (
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// A RolloutResult is how one rollout went.
type RolloutResult struct {
	ID       uint64   `json:"id"`
	Release  string   `json:"release"`
	Status   string   `json:"status"`
	Stage    string   `json:"stage"`
	Reason   string   `json:"reason"`
	Touched  []string `json:"touched"`  // robots that ever ran the release
	Canaries []string `json:"canaries"` // in the order in which they were opened
	Steps    []Step   `json:"steps"`
}

// A Step is how a rollout stands from a time on.
type Step struct {
	At     float64  `json:"at"`
	Status string   `json:"status"`
	Stage  string   `json:"stage"`
	Open   []string `json:"open"` // robots that may switch
	Reason string   `json:"reason,omitempty"`
}

// What a Switch is.
const (
	Activated = "activated"
	Committed = "committed"
	WentBack  = "back" // to Release
)

// A Switch is a payload that changed its release, as it really happened.
type Switch struct {
	At      float64 `json:"at"`
	Robot   string  `json:"robot"`
	Release string  `json:"release"`
	Did     string  `json:"did"` // Activated, Committed or WentBack
}

// An act is a switch before it is told.
type act struct {
	at      time.Duration
	robot   string
	release scenario.Ref
	did     string
}

// acted writes a switch down; the caller holds mu.
func (t *truth) acted(p *payload, did string, to manifest.Ref) {
	t.acts = append(t.acts, act{time.Since(Start), p.r.name, t.w.refOf(p.component, to.Version), did})
}

// switches are all so far, oldest first.
func (t *truth) switches() []Switch {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []Switch{}
	for _, a := range t.acts {
		list = append(list, Switch{a.at.Seconds(), a.robot, string(a.release), a.did})
	}
	return list
}

// people puts names of robots for their numbers in a reason.
func (w *World) people(reason string) string {
	for _, m := range w.machines() {
		if v := m.lastView(); v != nil && v.Roster != nil {
			return rollout.Named(reason, v.Roster)
		}
	}
	return reason
}

// rolloutOf is the last rollout of a release, or nil.
func (r *Report) rolloutOf(release string) *RolloutResult {
	for i := range slices.Backward(r.Rollouts) {
		if r.Rollouts[i].Release == release {
			return &r.Rollouts[i]
		}
	}
	return nil
}

// began is when the rollout started.
func (x *RolloutResult) began() float64 {
	if len(x.Steps) == 0 {
		return 0
	}
	return x.Steps[0].At
}

// ended is when the rollout came to its last status.
func (x *RolloutResult) ended() float64 {
	end := x.began()
	for i := 1; i < len(x.Steps); i++ {
		if x.Steps[i].Status != x.Steps[i-1].Status {
			end = x.Steps[i].At
		}
	}
	return end
}
