package netsim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// unmet lists what was expected of the end and is not so now. It changes nothing, and
// reads no file and asks no node: what it needs of nodes, ends has noted.
func (w *World) unmet() []string {
	e := &w.scenario.Expect
	var list []string
	for _, ref := range e.Active {
		list = append(list, w.notActive(ref)...)
	}
	for _, ref := range e.Reverted {
		list = append(list, w.notReverted(ref)...)
	}
	list = append(list, w.disturbed()...)
	list = append(list, w.otherwise()...)
	w.truth.mu.Lock()
	worst := w.truth.worst
	w.truth.mu.Unlock()
	if most := e.MaxOutOfService; most != nil && worst > most.Of(len(w.allRobots())) {
		list = append(list, fmt.Sprintf("max_out_of_service: %d robots were between two releases at once, at most %d may be", worst, most.Of(len(w.allRobots()))))
	}
	return append(list, w.checks.ends.unmet(e, w.scenario.Duration)...)
}

// elsewhere are robots of the swarm for which one of their payloads is not as it should be.
func (w *World) elsewhere(is func(p *payload, s standing) string) (list []string) {
	for _, r := range w.allRobots() {
		if w.watch.isRevoked(r.name) {
			continue
		}
		for _, p := range r.parts {
			if text := is(p, w.truth.standing(p)); text != "" {
				list = append(list, r.name+" "+text)
				break
			}
		}
	}
	return list
}

// tolerated is empty if no more robots are elsewhere than may be left behind.
func (w *World) tolerated(what string, list []string) []string {
	if most := w.scenario.Expect.LeftBehind.Of(len(w.allRobots())); len(list) <= most {
		return nil
	}
	for i := range list {
		list[i] = what + ": " + list[i]
	}
	return list
}

// notActive lists the robots that have not committed a release that is for them, or do
// not run it.
func (w *World) notActive(ref scenario.Ref) []string {
	want, err := w.named(ref)
	if err != nil {
		return []string{fmt.Sprintf("active %s: %v", ref, err)}
	}
	return w.tolerated("active "+string(ref), w.elsewhere(func(p *payload, s standing) string {
		switch {
		case p.component != want.Component || !want.fits(p.r.model):
			return ""
		case s.running.Digest != want.Digest():
			return "runs " + s.running.String()
		case s.committed.Digest != want.Digest():
			return "has it on trial"
		}
		return ""
	}))
}

// notReverted lists what speaks against a release having gone out and come back.
func (w *World) notReverted(ref scenario.Ref) []string {
	bad, err := w.named(ref)
	if err != nil {
		return []string{fmt.Sprintf("reverted %s: %v", ref, err)}
	}
	ran := false
	on := w.elsewhere(func(_ *payload, s standing) string {
		ran = ran || slices.Contains(s.ran, bad.Digest())
		if s.running.Digest == bad.Digest() || s.committed.Digest == bad.Digest() {
			return "still runs it"
		}
		return ""
	})
	if !ran {
		return []string{fmt.Sprintf("reverted %s: it never ran anywhere", ref)}
	}
	return w.tolerated("reverted "+string(ref), on)
}

// disturbed lists robots that should not have been, and were.
func (w *World) disturbed() (list []string) {
	names := w.pick(w.scenario.Expect.Untouched, w.draw("untouched").number())
	if len(names) == 0 {
		return nil
	}
	first := map[string]manifest.Digest{}
	for _, r := range w.built() {
		if _, ok := first[r.Component]; !ok {
			first[r.Component] = r.Digest()
		}
	}
	for _, name := range names {
		r := w.robotNamed(name)
		if r == nil {
			continue
		}
		for _, p := range r.parts {
			if slices.ContainsFunc(w.truth.standing(p).ran, func(d manifest.Digest) bool { return d != first[p.component] }) {
				list = append(list, "untouched: "+name+" ran another release of "+p.component)
			}
		}
	}
	return list
}

// otherwise is what the last rollout should have come to, and has not.
func (w *World) otherwise() (list []string) {
	e, o := &w.scenario.Expect, w.watch.order()
	if e.Holds != "" && !w.holds() {
		list = append(list, fmt.Sprintf("holds %q: %s", e.Holds, endOf(o)))
	}
	if e.Says != "" && (o == nil || o.Rollout == nil || !o.Rollout.Status.Final() || !strings.Contains(o.Rollout.Reason, e.Says)) {
		list = append(list, fmt.Sprintf("says %q: %s", e.Says, endOf(o)))
	}
	return list
}

// holds reports whether the last rollout holds for the reason that is expected.
func (w *World) holds() bool {
	text, o := w.scenario.Expect.Holds, w.watch.order()
	return text != "" && o != nil && o.Rollout != nil && o.Rollout.Status == order.Held && strings.Contains(o.Rollout.Reason, text)
}

// endOf says how the last rollout stands.
func endOf(o *order.Order) string {
	if o == nil || o.Rollout == nil {
		return "there was no rollout"
	}
	return fmt.Sprintf("rollout %d is %s%s", o.Rollout.ID, o.Rollout.Status, because(o.Rollout.Reason))
}

// ends is what was noted on the way for what is expected of the end. The watcher's
// goroutine owns it.
type ends struct {
	restless time.Duration // when somebody had not come to rest last; 0 is never
	why      string
	ships    []ship // oldest first
	sent     map[*life]map[manifest.Digest]float64
}

// A ship is a release that an operator took to the swarm.
type ship struct {
	ref    scenario.Ref
	digest manifest.Digest
	at     time.Duration
	safe   time.Duration // when the operator was not needed any more; 0 is not yet
}

func newEnds() ends { return ends{sent: map[*life]map[manifest.Digest]float64{}} }

// look notes what is so now.
func (x *ends) look(w *World, now time.Duration) {
	e := &w.scenario.Expect
	if e.ConvergeWithin > 0 {
		if why := w.unrest(); why != "" {
			x.restless, x.why = now, why
		}
	}
	w.checks.mu.Lock()
	x.ships = append(x.ships, w.checks.shipped[len(x.ships):]...)
	w.checks.mu.Unlock()
	for i := range x.ships {
		if s := &x.ships[i]; e.SafeToLeaveWithin > 0 && s.safe == 0 && w.safeToLeave(s.ref) {
			s.safe = now
		}
	}
	if e.SeedSends > 0 {
		x.count(w)
	}
}

// count notes how often each operator's node has sent each release.
func (x *ends) count(w *World) {
	for _, o := range clone(w, &w.operators) {
		l := o.alive()
		if l == nil || l.node.View() == nil {
			continue
		}
		if x.sent[l] == nil {
			x.sent[l] = map[manifest.Digest]float64{}
		}
		sums := map[manifest.Digest]float64{}
		for _, s := range l.node.Status().Seeds {
			sums[s.Release.Digest] = max(sums[s.Release.Digest], s.SentRatio)
		}
		for d, ratio := range sums {
			x.sent[l][d] = max(x.sent[l][d], ratio)
		}
	}
}

// unmet is what of it is not as expected. Whoever had not come to rest when the run ended
// never did, as far as anybody knows, though there was time until then.
func (x *ends) unmet(e *scenario.Expect, lasts time.Duration) (list []string) {
	if e.ConvergeWithin > 0 && (x.restless > e.ConvergeWithin || x.restless >= lasts) {
		list = append(list, fmt.Sprintf("converge_within %s: at %s %s", e.ConvergeWithin, x.restless.Round(time.Second), x.why))
	}
	for _, s := range x.ships {
		sent := 0.0
		for _, of := range x.sent {
			sent += of[s.digest]
		}
		if e.SeedSends > 0 && sent > e.SeedSends {
			list = append(list, fmt.Sprintf("seed_sends %g: the operator has sent %s %.2f times", e.SeedSends, s.ref, sent))
		}
		switch most := e.SafeToLeaveWithin; {
		case most == 0:
		case s.safe == 0:
			list = append(list, fmt.Sprintf("safe_to_leave_within %s: the operator is still needed for %s", most, s.ref))
		case s.safe-s.at > most:
			list = append(list, fmt.Sprintf("safe_to_leave_within %s: the operator was needed for %s for %s", most, s.ref, (s.safe-s.at).Round(time.Second)))
		}
	}
	return list
}

// unrest is who has not come to rest among the robots that can be reached: those on, in
// the largest group of machines. A rollout that waits for a person is at rest.
func (w *World) unrest() string {
	o := w.watch.order()
	if o == nil {
		return "nothing was decided yet"
	}
	if r := o.Rollout; r != nil && (r.Status == order.Running || r.Status == order.RollingOff) {
		return fmt.Sprintf("rollout %d was %s", r.ID, r.Status)
	}
	for _, m := range w.checks.live.core {
		r := w.robotNamed(m.name)
		if r == nil || m.alive() == nil {
			continue
		}
		for _, p := range r.parts {
			s := w.truth.standing(p)
			if text := restless(s, true, false, ""); text != "" {
				return m.name + " " + text
			}
		}
	}
	return ""
}

// troubled reports whether a fault is still to come or to be lifted.
func (w *World) troubled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending > 0
}
