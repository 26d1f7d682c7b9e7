package netsim

import (
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// A timeline is what the report tells in the order of time.
type timeline struct {
	samples    []Sample
	nextSample time.Duration // when the next one is kept
	sampleGap  time.Duration
	leaders    []Leadership
	voting     []Electorate
	steps      map[uint64][]Step                 // of each rollout
	firsts     map[uint64][]string               // canaries of each rollout, as they were opened
	sent       map[*life]map[string]float64      // by an operator's life and release: how often it was sent
	plans      map[manifest.Digest]*rollout.Plan // by the digest of the plan's envelope
	air        air
}

func newTimeline() timeline {
	return timeline{sampleGap: sampleEvery, steps: map[uint64][]Step{}, firsts: map[uint64][]string{}, sent: map[*life]map[string]float64{},
		plans: map[manifest.Digest]*rollout.Plan{}, air: newAir()}
}

// shipped keeps the plan that an operator signed.
func (x *watch) shipped(p *rollout.Plan, digest manifest.Digest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.plans[digest] = p
}

// record notes what a new order changed: the rollout's step, and the voters.
func (w *World) record(was, o *order.Order) {
	now := time.Since(Start).Seconds()
	voters := []string(nil)
	if was == nil || was.Generation != o.Generation || was.Electorate.Version != o.Electorate.Version {
		voters = append([]string{}, w.voters()...)
	}
	x := w.watch
	var open []string
	if o.Rollout != nil {
		open = w.members(o.Rollout.Open)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if voters != nil {
		x.voting = append(x.voting, Electorate{now, voters})
	}
	r := o.Rollout
	if r == nil {
		return
	}
	s := Step{At: now, Status: r.Status.String(), Stage: stageOf(r), Open: open, Reason: r.Reason}
	list := x.steps[r.ID]
	if n := len(list); n > 0 && list[n-1].Status == s.Status && list[n-1].Stage == s.Stage && list[n-1].Reason == s.Reason && slices.Equal(list[n-1].Open, s.Open) {
		return
	}
	x.steps[r.ID] = append(list, s)
	if r.Stage == order.Canary {
		for _, name := range open {
			if !slices.Contains(x.firsts[r.ID], name) {
				x.firsts[r.ID] = append(x.firsts[r.ID], name)
			}
		}
	}
}

// sentNow is how often each operator's node has sent each release in its life, or the
// last one: the most of any variant.
func (w *World) sentNow() map[*life]map[string]float64 {
	out := map[*life]map[string]float64{}
	for _, o := range clone(w, &w.operators) {
		l := o.lastLife()
		if l == nil || l.node.View() == nil {
			continue
		}
		out[l] = map[string]float64{}
		for _, s := range l.node.Status().Seeds {
			if r := w.release(s.Release.Digest); r != nil && s.Bytes > 0 {
				name := string(r.spec.Ref())
				out[l][name] = max(out[l][name], float64(s.SentBytes)/float64(s.Bytes))
			}
		}
	}
	return out
}

// seedSent adds up all lives of all operators.
func (x *watch) seedSent() map[string]float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	sum := map[string]float64{}
	for _, of := range x.sent {
		for name, times := range of {
			sum[name] += times
		}
	}
	return sum
}
