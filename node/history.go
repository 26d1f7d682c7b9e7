package node

import (
	"context"
	"fmt"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// orderEvent is the Kind of events about what the swarm has decided.
const orderEvent = "order"

// watchOrders notes in the history what the swarm decides, as this node verifies
// it. What changed while the node was off is noted as one step.
func (n *Node) watchOrders(ctx context.Context) error {
	was := n.keeper.View()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-was.past:
		}
		v := n.keeper.View()
		for _, e := range changes(was, v) {
			n.note(e)
		}
		n.heed()
		was = v
	}
}

// changes are the events that lead from one view to a later one.
func changes(was, v *View) []Event {
	var out []Event
	say := func(kind, format string, args ...any) {
		out = append(out, Event{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	if v.Halted != was.Halted || (v.Halted && v.haltN != was.haltN) {
		if v.Halted {
			say("halt", "the swarm is halted: %s", v.HaltReason)
		} else {
			say("halt", "the halt is over")
		}
	}
	if v.Alarm != was.Alarm {
		if v.Alarm != "" {
			say("alarm", "two certified truths: %s", v.Alarm)
		} else {
			say("alarm", "the alarm is over")
		}
	}
	if v.Order == nil || v.Order == was.Order {
		return out
	}
	old := was.Order
	if old == nil {
		old = &order.Order{}
	}
	if v.Order.Generation != old.Generation {
		say(orderEvent, "generation %d starts: %s", v.Order.Generation, v.Genesis.Reason)
	}
	out = append(out, decided(old, v)...)
	return append(out, rolled(old, v)...)
}

// decided are the changes of components, quarantine and voters.
func decided(old *order.Order, v *View) []Event {
	var out []Event
	o := v.Order
	for _, c := range o.Components {
		before := old.Component(c.Name)
		if c.Active.IsZero() || (before != nil && before.Active.Digest == c.Active.Digest) {
			continue
		}
		text := fmt.Sprintf("%s %s is active", c.Name, c.Active.Version)
		if before != nil && !before.Active.IsZero() {
			text += ", before it " + before.Active.Version
		}
		out = append(out, Event{Kind: orderEvent, Component: c.Name, Release: c.Active.Version, Digest: c.Active.Digest.String(), Text: text})
	}
	for _, d := range o.Quarantine {
		if !old.Quarantined(d) {
			r := v.release(d)
			out = append(out, Event{Kind: orderEvent, Component: r.Component, Release: r.Version, Digest: d.String(), Text: fmt.Sprintf("release %s is quarantined", r)})
		}
	}
	if old.Level > 0 && o.Level > old.Level {
		out = append(out, Event{Kind: orderEvent, Text: fmt.Sprintf("the swarm is at feature level %d", o.Level)})
	}
	if o.Electorate.Version != old.Electorate.Version || o.Generation != old.Generation {
		var names []string
		for _, s := range o.Electorate.Voters {
			names = append(names, v.nameOf(s.Member))
		}
		out = append(out, Event{Kind: orderEvent, Text: "voters are " + strings.Join(names, ", ")})
	}
	return out
}

// rolled is the event of a rollout that has moved.
func rolled(old *order.Order, v *View) []Event {
	r, before := v.Order.Rollout, old.Rollout
	if r == nil {
		return nil
	}
	if before != nil && before.ID == r.ID && before.Status == r.Status && before.Stage == r.Stage && before.Wave == r.Wave && before.Batch == r.Batch && before.Reason == r.Reason {
		return nil
	}
	return []Event{{
		Kind: orderEvent, Component: r.Component, Release: r.Release.Version, Digest: r.Release.Digest.String(), Rollout: r.ID,
		Status: r.Status.String(), Stage: r.Stage.String(), Reason: v.named(r.Reason),
		Text: v.named(rollout.Explain(v.Order)),
	}}
}

// rollout is what an event of the history tells of a rollout that is past.
func (e Event) rollout() RolloutView {
	d, err := manifest.ParseDigest(e.Digest)
	if err != nil {
		d = manifest.Digest{} // the history was written by hand
	}
	return RolloutView{
		ID: e.Rollout, Component: e.Component, Release: ReleaseName{Component: e.Component, Version: e.Release, Digest: d},
		Status: e.Status, Final: finalWords[e.Status], Stage: e.Stage, Reason: e.Reason, Text: e.Text,
		Open: []string{}, Opened: []string{},
	}
}

// finalWords are the statuses of rollouts that are over.
var finalWords = func() map[string]bool {
	out := map[string]bool{}
	for s := order.Running; s <= order.Superseded; s++ {
		out[s.String()] = s.Final()
	}
	return out
}()
