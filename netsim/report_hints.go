package netsim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	// fullFor is how long a cell must have been saturated before a hint says so.
	fullFor = 30 * time.Second
	// sentOften is how often an operator may send an image before that is worth a word:
	// once is the least, and a robot that asks twice costs a little.
	sentOften = 1.5
)

// hints say what an operator could change, where the run shows that it would help.
func (w *World) hints(r *Report) []string {
	list := []string{}
	for i := range r.Rollouts {
		x := &r.Rollouts[i]
		p := w.watch.planOf(x.ID)
		if p == nil {
			continue
		}
		for _, h := range []string{cutShort(r, x, p, w.scenario.Duration), tooWide(r, x, p), tooBrief(r, x, p)} {
			if h != "" {
				list = append(list, h)
			}
		}
	}
	list = append(append(list, crowded(r)...), generous(r)...)
	return append(list, stuck(w.truth.since(0))...)
}

// stuck is about a step of the story that was tried to the end, in vain.
func stuck(notes []Note) []string {
	last := map[string]Note{} // by machine: of its steps
	for _, n := range notes {
		if n.Kind == "step" || n.Kind == "step-failed" {
			last[n.Machine] = n
		}
	}
	var list []string
	for _, machine := range slices.Sorted(maps.Keys(last)) {
		if n := last[machine]; n.Kind == "step-failed" {
			list = append(list, fmt.Sprintf("%s tried until %s, and never could: %s", machine, clock(n.At.Seconds()), n.Text))
		}
	}
	return list
}

// cutShort is about a run that ended while its rollout still had to wait.
func cutShort(r *Report, x *RolloutResult, p *rollout.Plan, lasts time.Duration) string {
	if x.Status != "running" || r.Virtual < lasts.Seconds()-1 || len(x.Steps) == 0 {
		return ""
	}
	soak := patienceOf(p)
	left := lasts.Seconds() - x.began()
	if soak.Seconds() > left {
		return fmt.Sprintf("soak longer than duration: %s had %s of the run, and soaks and exposure alone take %s; raise duration, or shorten them", x.Release, clock(left), clock(soak.Seconds()))
	}
	return fmt.Sprintf("%s was still in %s when the run ended at %s: raise duration to see how it ends", x.Release, x.Stage, clock(r.Virtual))
}

// patienceOf is how long a plan waits at the least, whatever the swarm does.
func patienceOf(p *rollout.Plan) time.Duration {
	sum := uint64(p.WaveGate.SoakSeconds)*uint64(len(p.Waves)) + uint64(p.SoakGate.SoakSeconds)
	if p.CanaryPermille > 0 || p.CanaryMin > 0 {
		sum += uint64(p.CanaryGate.SoakSeconds)
	}
	return time.Duration(sum) * time.Second
}

// tooWide is about a release that failed when many robots had it already.
func tooWide(r *Report, x *RolloutResult, p *rollout.Plan) string {
	at := failedIn(x)
	if at == "" || at == "canary" || len(p.Waves) == 0 || r.Robots == 0 {
		return ""
	}
	share := 100 * len(x.Touched) / r.Robots
	if share < 50 {
		return ""
	}
	return fmt.Sprintf("stage too wide: %s failed in %s, when %d of %d robots had run it; a smaller wave before it meets the fault with fewer", x.Release, at, len(x.Touched), r.Robots)
}

// failedIn is the stage in which a rollout failed first; empty if it did not.
func failedIn(x *RolloutResult) string {
	bad := []string{"held", "reverting", "reverted"}
	for _, s := range x.Steps {
		if slices.Contains(bad, s.Status) && s.Reason != "" {
			return s.Stage
		}
	}
	return ""
}

// tooBrief is about canaries that passed what others failed later.
func tooBrief(r *Report, x *RolloutResult, p *rollout.Plan) string {
	at := failedIn(x)
	if at == "" || at == "canary" || len(x.Canaries) == 0 {
		return ""
	}
	soak := float64(p.CanaryGate.SoakSeconds)
	var late float64 // longest time from activation to going back
	on := map[string]float64{}
	for _, s := range r.Switches {
		switch {
		case s.Did == Activated && s.Release == x.Release:
			on[s.Robot] = s.At
		case s.Did == WentBack && on[s.Robot] > 0:
			if !slices.ContainsFunc(x.Steps, func(st Step) bool { return st.Status == "reverting" && st.At <= s.At }) { // by itself
				late = max(late, s.At-on[s.Robot])
			}
			delete(on, s.Robot)
		}
	}
	if late <= soak {
		return ""
	}
	return fmt.Sprintf("canary soak too brief: robots failed %s after they had switched to %s, the canaries soaked for %s", clock(late), x.Release, clock(soak))
}

// crowded is about radios that had no airtime left.
func crowded(r *Report) (list []string) {
	worst := -1
	for i, c := range r.Cells {
		if c.Full >= fullFor.Seconds() && (worst < 0 || c.Full > r.Cells[worst].Full) {
			worst = i
		}
	}
	if worst < 0 {
		return nil
	}
	c := r.Cells[worst]
	return append(list, fmt.Sprintf("radio saturated: cell %s %d,%d was at least %.0f %% busy for %s (at most %.0f %%); fewer robots at once, prefetch: stage, or a faster radio", c.Radio, c.X, c.Y, 100*saturated, clock(c.Full), 100*c.Peak))
}

// generous is about images that the operator sent again and again.
func generous(r *Report) (list []string) {
	for _, c := range r.Completion {
		if n := r.SeedSent[c.Release]; n > sentOften && c.Shipped != nil {
			list = append(list, fmt.Sprintf("the operator sent %s %.1f times: it was fetched before other robots had it, or they could not reach each other", c.Release, n))
		}
	}
	return list
}

// planOf is the plan of a rollout, if this run's operators made it.
func (x *watch) planOf(id uint64) *rollout.Plan {
	x.mu.Lock()
	defer x.mu.Unlock()
	o := x.rollouts[id]
	if o == nil {
		return nil
	}
	return x.plans[o.Plan]
}
