package node

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

// ExplainSchema is the schema of an Explanation.
const ExplainSchema = "starling.explain/v1"

// An Explanation says in one sentence why things stand as they do, and what to do.
type Explanation struct {
	Schema  string    `json:"schema"`
	Time    time.Time `json:"time"`
	SeenBy  member.ID `json:"seen_by"`
	Node    member.ID `json:"node,omitempty"` // empty: the rollout
	Rollout uint64    `json:"rollout,omitempty"`
	// Code is a word for tools: "running", "held", "halted", "no_quorum", and of a
	// node "gate_closed", "fetching", "out_of_reach", "no_variant", …
	Code    string   `json:"code"`
	Text    string   `json:"text"`
	Details []string `json:"details"`
	Next    string   `json:"next"`
}

// Explain says why the last rollout stands as it does, or why one node does or does
// not move. It returns ErrNoMember for an unknown name, and errNotReady before the
// node has joined.
func (n *Node) Explain(node string) (*Explanation, error) {
	v := n.View()
	if v == nil {
		s := n.Status()
		return &Explanation{Schema: ExplainSchema, Time: s.Time, Code: "not_joined", Text: s.Text, Details: []string{}, Next: "starling status"}, nil
	}
	x := &Explanation{Schema: ExplainSchema, Time: time.Now().UTC(), SeenBy: v.ID, Details: []string{}}
	if v.Order != nil && v.Order.Rollout != nil {
		x.Rollout = v.Order.Rollout.ID
	}
	if node == "" {
		n.explainRollout(v, x)
		return x, nil
	}
	w, err := n.NodeByID(member.ID(node))
	if err != nil {
		return nil, err
	}
	x.Node = w.ID
	n.explainNode(v, w, x)
	return x, nil
}

// say fills in what is to be said.
func (x *Explanation) say(code, next, format string, args ...any) {
	x.Code, x.Next, x.Text = code, next, fmt.Sprintf(format, args...)
}

func (n *Node) explainRollout(v *View, x *Explanation) {
	if v.Order == nil {
		x.say("no_voters", "switch on robots that are off, or let more in: starling invite, then on each starling join FILE", "%s", n.quorum(v, n.heardOf()).Text)
		return
	}
	text := v.named(rollout.Explain(v.Order))
	x.Details = n.rolloutDetails(v)
	for _, e := range n.hostile(v) {
		x.Details = append(x.Details, e.Text)
	}
	q := n.quorum(v, n.heardOf())
	r := v.Order.Rollout
	switch {
	case v.Alarm != "":
		x.say("alarm", "the operator must start a new generation", "this robot holds still: %s", v.Alarm)
	case v.Halted:
		x.say("halted", "when it is safe: starling halt --clear", "the swarm is halted (%s); %s", v.HaltReason, text)
	case r == nil:
		x.say("none", "starling ship PATH --version V", "%s", text)
	case !r.Status.Final() && !q.OK:
		x.say("no_quorum", "switch on a voter that is off, or bring it within reach", "%s; but nothing new can start: %s", text, q.Text)
	default:
		x.say(r.Status.String(), nextOf(r)+further(v.Order), "%s", text)
	}
}

// nextOf is what a person does about a rollout.
func nextOf(r *order.Rollout) string {
	id := strconv.FormatUint(r.ID, 10)
	switch r.Status {
	case order.Running:
		switch r.Stage {
		case order.Sim:
			return "netsim rehearse -o sim.report, and starling report submit sim.report; or with another simulator: starling report sign --stage sim --by TOOL " + r.Release.Version
		case order.HIL:
			return "starling report sign --stage hil --by BENCH " + r.Release.Version
		}
		return "starling watch"
	case order.Held:
		return "to go on: starling rollout resume " + id + "; to take it back: starling rollout rollback " + id
	case order.RollingOff:
		return "wait: robots go back one after the other; starling watch"
	case order.Finished:
		return "nothing; to take it back: starling rollout rollback " + id
	}
	return "build a better one under a new version: starling ship PATH --version V"
}

// further is what else a person may do after a rollout was taken back: the release
// before it may be no better.
func further(o *order.Order) string {
	c := o.Component(o.Rollout.Component)
	if o.Rollout.Status != order.Reverted || c == nil || c.Previous.IsZero() {
		return ""
	}
	return fmt.Sprintf("; to take back %s as well: starling rollback --to %s", c.Active.Version, c.Previous.Version)
}

// explainNode goes through the reasons, the strongest first.
func (n *Node) explainNode(v *View, w *NodeView, x *Explanation) {
	reach := w.State == "alive" || w.State == "suspect"
	switch {
	case w.Revoked:
		x.say("revoked", "nothing", "%s is revoked: nobody talks to it", w.ID)
	case w.Role != member.Robot.String():
		x.say("no_payload", "nothing", "%s is %s and runs no payload", w.ID, article(w.Role))
	case w.State == "left":
		x.say("off", "switch it on; it catches up by itself", "%s said goodbye %s ago", w.ID, seconds(w.SinceSeconds))
	case w.Leaving:
		x.say("off", "switch it on again; it catches up by itself", "%s is being switched off", w.ID)
	case !reach:
		n.explainAway(w, x)
	case v.Alarm != "":
		x.say("alarm", "the operator must start a new generation", "%s holds still: %s", w.ID, v.Alarm)
	case v.Halted || w.Halted:
		x.say("halted", "when it is safe: starling halt --clear", "%s is halted: %s", w.ID, v.HaltReason)
	case v.Order == nil:
		x.say("no_voters", "switch on robots that are off, or let more in: starling invite, then on each starling join FILE", "%s", n.quorum(v, n.heardOf()).Text)
	case w.TooOld:
		x.say("too_old", "update starling on "+string(w.ID), "%s cannot read feature level %d and keeps what it runs", w.ID, v.Order.Level)
	default:
		n.explainUpdate(v, w, x)
	}
}

func article(role string) string {
	if role == member.Operator.String() {
		return "an operator's node"
	}
	return "a base node"
}

func (n *Node) explainAway(w *NodeView, x *Explanation) {
	since := ""
	if w.State != "unheard" {
		since = " since " + seconds(w.SinceSeconds)
	}
	x.say("out_of_reach", "switch it on, or bring it within reach; it catches up by itself", "%s is out of reach from %s%s", w.ID, x.SeenBy, since)
}

// explainUpdate says how far a robot within reach has got with the component that
// is on its way.
func (n *Node) explainUpdate(v *View, w *NodeView, x *Explanation) {
	component := n.componentOf(v, w)
	rep := w.report(component)
	t := rollout.TargetOf(v.Order, w.Index, component, rep.runs())
	if rep == nil && w.Self && len(n.robots) == 0 {
		x.say("no_payload", "name its components in the configuration", "%s runs no payload", w.ID)
		return
	}
	if rep == nil {
		x.say("unknown", "ask a voter or the operator's node: starling rollout explain "+string(w.ID), "%s hears no reports of %s; by the order it should: %s", x.SeenBy, w.ID, t.Reason)
		return
	}
	if why := n.noVariant(w, component, t); why != "" {
		x.say("no_variant", "build the release with a variant for it", "%s", why)
		return
	}
	to := nameRef(component, t.Release).String()
	gate := n.gateWords(w, component)
	wait := "starling watch"
	because := ""
	if rep.Reason != "" {
		because = ": " + rep.Reason
	}
	switch phase := rep.Phase; {
	case rep.Result == member.Failed.String():
		x.say("failed", "what it printed is in slots/"+component+"/log of its node's directory, or in its journal; then build a better one: starling ship PATH --version V", "%s failed with %s and runs %s%s", w.ID, rep.Release, rep.Running, because)
	case phase == member.Reverting.String():
		x.say("reverting", wait, "%s goes back from %s%s", w.ID, rep.Release, because)
	case phase == member.Trial.String():
		x.say("trial", wait, "%s runs %s on trial", w.ID, rep.Release)
	case gate != "" && t.Cause != rollout.Stay:
		x.say("gate_closed", "it counts as busy, not as failed; the application opens its gate: starling gate show", "%s does not switch to %s: %s", w.ID, to, gate)
	case rep.Result == member.Deferred.String():
		x.say("deferred", "nothing: it is asked again", "%s is deferred%s", w.ID, because)
	case phase == member.Fetching.String() && strings.HasPrefix(rep.Reason, waitsPrefix):
		x.say("fetch_waits", "nothing: it goes on when that has changed (transfer in its configuration, or what the plan asks for; starling condition show on it), or bring it: starling release import FILE.star on it",
			"%s has %d.%d %% of %s and %s", w.ID, rep.Progress/10, rep.Progress%10, rep.Release, rep.Reason)
	case phase == member.Fetching.String():
		x.say("fetching", wait, "%s fetches %s: %d.%d %%", w.ID, rep.Release, rep.Progress/10, rep.Progress%10)
	case phase == member.Armed.String():
		x.say("armed", wait, "%s asks for the word to switch to %s%s", w.ID, rep.Release, because)
	case t.Cause == rollout.Stay:
		x.say("stays", "nothing", "%s runs %s%s%s", w.ID, rep.Running, stays(v.Order, component, rep.runs(), t.Reason), because)
	case t.May == rollout.MayFetch:
		x.say("batch_not_open", wait, "%s has %s at phase %s: %s", w.ID, to, phase, v.named(t.Reason))
	default:
		x.say("moving", wait, "%s is to run %s (%s), and is at phase %s%s", w.ID, to, v.named(t.Reason), phase, because)
	}
}

// stays says why a robot keeps what it runs, without saying again that it runs it.
func stays(o *order.Order, component string, runs manifest.Digest, reason string) string {
	c, r := o.Component(component), o.Rollout
	switch {
	case o.Quarantined(runs):
	case c != nil && !runs.IsZero() && c.Active.Digest == runs:
		return ", which is active"
	case r != nil && r.Component == component && !r.Status.Final() && r.Release.Digest == runs:
		return ", which is rolling out"
	}
	return ": " + reason
}

// componentOf is the component worth explaining: that of the rollout, else the
// first that the robot reports.
func (n *Node) componentOf(v *View, w *NodeView) string {
	switch {
	case v.Order.Rollout != nil:
		return v.Order.Rollout.Component
	case len(w.Reports) > 0:
		return w.Reports[0].Component
	}
	return manifest.DefaultComponent
}

// noVariant says that the release a robot should run is not made for it, as far as
// the release is here.
func (n *Node) noVariant(w *NodeView, component string, t rollout.Target) string {
	rel := n.releases.get(n.docs, t.Release.Digest)
	if t.Cause == rollout.Stay || rel == nil || rel.For(w.Labels) != nil {
		return ""
	}
	var has []string
	for _, variant := range rel.Variants {
		has = append(has, variant.Name)
	}
	return fmt.Sprintf("no variant of %s %s (%s) matches %s, labelled %v: it keeps what it runs", component, rel.Version, strings.Join(has, ", "), w.ID, w.Labels)
}

// gateWords says who holds a robot, if its gate is closed; in full only here.
func (n *Node) gateWords(w *NodeView, component string) string {
	if !w.Self {
		if w.Held {
			return "its gate is closed by the application"
		}
		return ""
	}
	for _, r := range n.robots {
		if r.cfg.Name != component {
			continue
		}
		if g := r.cfg.Gate.State(); !g.Open {
			text := "its gate is closed: " + g.Reason
			if !g.Next.IsZero() {
				text += fmt.Sprintf(" (for %s more at most)", time.Until(g.Next).Round(time.Second))
			}
			return text
		}
	}
	return ""
}
