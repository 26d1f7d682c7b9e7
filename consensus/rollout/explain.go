package rollout

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// Explain says in one sentence where the rollout of an order stands and why:
//
//	rollout 3 of app 1.5.0 is held in canary: canary failed: 1 of 2 robots …
//
// Robots are named by index; see Named.
func Explain(o *order.Order) string {
	r := o.Rollout
	if r == nil {
		return "no rollout has been started"
	}
	head := fmt.Sprintf("rollout %d of %s %s", r.ID, r.Component, r.Release.Version)
	at := stageName(r.Stage, r.Wave)
	switch r.Status {
	case order.Running:
		head += fmt.Sprintf(" is in %s", at)
		switch n := r.Open.Count(); {
		case r.Stage == order.Sim || r.Stage == order.HIL:
			head += " and waits for a signed report"
		case n == 1:
			head += fmt.Sprintf(": batch %d, 1 robot, may switch", r.Batch)
		case n > 1:
			head += fmt.Sprintf(": batch %d, %d robots, may switch", r.Batch, n)
		case r.Stage != order.Verify:
			head += " and watches the robots that switched"
		}
	case order.Held:
		head += fmt.Sprintf(" is held in %s", at)
	case order.RollingOff:
		head += fmt.Sprintf(" is being taken back from %s", at)
	case order.Finished:
		head += " is done"
	case order.Reverted:
		head += fmt.Sprintf(" was taken back; %s is active", active(o, r.Component))
	default:
		head += fmt.Sprintf(" is %s in %s", r.Status, at)
	}
	return because(head, r.Reason)
}

func active(o *order.Order, component string) string {
	if c := o.Component(component); c != nil && !c.Active.IsZero() {
		return c.Active.Version
	}
	return "nothing"
}

// ExplainState is Explain with what only a voter knows: how many robots of the
// open stage switched and failed, what that proves, and what is waited for.
func (s *State) ExplainState() []string {
	out := []string{Explain(s.Order())}
	r := s.Rollout
	if r == nil || r.Status.Final() {
		return out
	}
	if cohort := intersect(r.cohort(), r.Opened); len(cohort) > 0 && r.Stage >= order.Canary {
		good, bad := s.those(cohort, committed, silent).Count(), s.those(cohort, failed, lost).Count()
		line := fmt.Sprintf("%s: %d of %d robots run it, %d failed", stageName(r.Stage, r.Wave), good, r.cohort().Count(), bad)
		if good+bad > 0 {
			line += fmt.Sprintf("; %d of %d failed: true rate ≤ %s %%", bad, good+bad, percent(Bound(bad, good+bad)))
		}
		out = append(out, line)
	}
	if len(r.Deferred) > 0 {
		out = append(out, fmt.Sprintf("deferred: %s", robots(r.Deferred)))
	}
	for _, rep := range []struct {
		stage order.Stage
		wants bool
		zero  bool
	}{{order.Sim, r.Plan.Sim, r.SimReport.IsZero()}, {order.HIL, r.Plan.HIL, r.HILReport.IsZero()}} {
		if rep.wants && !rep.zero {
			out = append(out, fmt.Sprintf("%s: a signed report opened the gate", rep.stage))
		}
	}
	if err := s.Clone().advance(); err != nil && r.Status != order.Held {
		out = append(out, "waits: "+strings.TrimPrefix(err.Error(), ErrNotYet.Error()+": "))
	}
	return out
}

var robotWord = regexp.MustCompile(`\brobot (\d{1,4})\b`)

// Named puts names in the places of "robot 3" in a sentence of this package.
func Named(sentence string, r *member.Roster) string {
	return robotWord.ReplaceAllStringFunc(sentence, func(word string) string {
		i, err := strconv.Atoi(robotWord.FindStringSubmatch(word)[1])
		if err != nil || i >= len(r.Members) {
			return word
		}
		return string(r.Members[i].ID)
	})
}
