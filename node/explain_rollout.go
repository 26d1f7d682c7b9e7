package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// maxNamed bounds the robots that one explanation names one by one.
const maxNamed = 8

// rolloutDetails are sentences about the rollout beyond the order: what a voter
// knows of its gate, how far its soak is, and what each robot in its way waits for.
func (n *Node) rolloutDetails(v *View) []string {
	out := n.voterDetails(v)
	if v.Order == nil || v.Order.Rollout == nil || v.Roster == nil {
		return out
	}
	r := v.Order.Rollout
	p := n.planOf(v, r)
	if p != nil && !r.Status.Final() && r.Status != order.RollingOff {
		if line := n.soakWords(v, r, p); line != "" {
			out = append(out, line)
		}
	}
	if t := n.planTransfer(); t != nil {
		out = append(out, t.Text)
	}
	return append(out, n.inTheWay(v, r, p)...)
}

// voterDetails are sentences that only a voter can say; none from others.
func (n *Node) voterDetails(v *View) []string {
	out := []string{}
	r := n.voter.replica.Load()
	if r == nil || v.Order == nil || v.Order.Rollout == nil {
		return out
	}
	for i, line := range r.State().ExplainState() {
		if i > 0 { // the first is Explain's
			out = append(out, v.named(line))
		}
	}
	return out
}

// planOf is the plan of a rollout if it is here and signed as it should be, else nil:
// explaining fetches nothing.
func (n *Node) planOf(v *View, r *order.Rollout) *rollout.Plan {
	if p := n.planned.plans.known(r.Plan); p != nil {
		return p
	}
	doc, err := n.docs.get(join.PlanDocument, r.Plan)
	if err != nil {
		return nil
	}
	p, _, err := rollout.OpenPlan(doc, v.Swarm, v.roles().Plan)
	if err != nil {
		return nil
	}
	n.planned.plans.keep(r.Plan, p)
	return p
}

// gateNow is the gate of the open stage, nil if that has none.
func gateNow(p *rollout.Plan, stage order.Stage) *rollout.Gate {
	switch stage {
	case order.Canary:
		return &p.CanaryGate
	case order.Wave:
		return &p.WaveGate
	case order.Soak:
		return &p.SoakGate
	}
	return nil
}

// soakWords says how long the robots that have switched are well, of what the open
// stage asks for, by their newest reports here; "" if nobody is to be waited for.
//
//	soak in canary: 1 of 2 robots well for 1m0s (r04 for 34s); 94s of 10m0s together
func (n *Node) soakWords(v *View, r *order.Rollout, p *rollout.Plan) string {
	g := gateNow(p, r.Stage)
	if g == nil || (g.SoakSeconds == 0 && g.ExposureSeconds == 0) {
		return ""
	}
	type robot struct {
		name    string
		healthy uint32
	}
	var run, short []robot
	var sum uint64
	for _, i := range r.Opened.All() {
		m := v.Roster.At(member.Index(i))
		h, _, ok := n.health.newest(member.Index(i), r.Component)
		if m == nil || m.Labels["role"] == "hil" || !ok || !runsIt(&h, r) {
			continue
		}
		run, sum = append(run, robot{string(m.ID), h.Healthy}), sum+uint64(h.Healthy)
		if h.Healthy < g.SoakSeconds {
			short = append(short, run[len(run)-1])
		}
	}
	if len(run) == 0 {
		return ""
	}
	slices.SortStableFunc(short, func(a, b robot) int { return cmp.Compare(a.healthy, b.healthy) })
	var names []string
	for _, s := range short[:min(len(short), maxNamed)] {
		names = append(names, fmt.Sprintf("%s for %s", s.name, seconds(int64(s.healthy))))
	}
	text := fmt.Sprintf("soak in %s: %d of %d robots that run it are well for %s", r.Stage, len(run)-len(short), len(run), seconds(int64(g.SoakSeconds)))
	if len(names) > 0 {
		text += " (" + strings.Join(names, ", ") + ")"
	}
	if g.ExposureSeconds > 0 {
		text += fmt.Sprintf("; %s of %s together", seconds(int64(sum)), seconds(int64(g.ExposureSeconds)))
	}
	return text
}

// runsIt reports whether a robot says that it has committed the rollout's release.
func runsIt(h *member.Report, r *order.Rollout) bool {
	return h.Running == r.Release.Digest && h.Phase != member.Trial && h.Phase != member.Reverting
}

// inTheWay says of each robot that was in a batch and does not run the release what
// it waits for, or how it failed: the first maxNamed of them.
func (n *Node) inTheWay(v *View, r *order.Rollout, p *rollout.Plan) []string {
	if v.Halted || v.Alarm != "" {
		return nil // then that is the reason
	}
	var out []string
	more := 0
	for _, w := range n.Nodes().Nodes {
		if !r.Opened.Has(int(w.Index)) || w.Revoked {
			continue
		}
		var x Explanation
		x.SeenBy = v.ID
		n.explainNode(v, &w, &x)
		switch {
		case x.Code == "stays":
			continue
		case r.Open.Has(int(w.Index)) && r.Status == order.Running && (x.Code == "off" || x.Code == "out_of_reach"):
			x.Text += patience(p)
		}
		switch {
		case len(out) == maxNamed:
			more++
		default:
			out = append(out, x.Text)
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more: starling node ls", more))
	}
	return out
}

// patience says what a batch does about a robot that is not there.
func patience(p *rollout.Plan) string {
	if p == nil {
		return "; its batch waits for it"
	}
	return fmt.Sprintf("; its batch waits up to %s for it, and then goes on without", seconds(int64(p.InstallDeadlineSeconds)))
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }
