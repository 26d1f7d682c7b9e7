package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/install"
)

// A Condition is a state of the robot in which it may fetch images: see
// Config.OnlyWhen.
type Condition string

// The conditions. The application says whether the first two hold, over the local API;
// Idle holds while every component's gate is open.
const (
	Charging Condition = "charging"
	Still    Condition = "still"
	Idle     Condition = "idle"
)

// AllConditions are those that there are.
var AllConditions = []Condition{Charging, Still, Idle}

// conditionPace is how often conditions are looked at while something depends on them:
// gates and words expire without telling anybody.
const conditionPace = time.Second

// waitsPrefix begins the reason in reports of a robot that waits for a condition.
const waitsPrefix = "waits with fetching: "

// errConditions ends a fetch whose conditions hold no longer.
var errConditions = errors.New("node: the conditions of transfer do not hold any more")

// conditions are what must hold, and what the application last said. It is safe for
// concurrent use.
type conditions struct {
	need []Condition

	mu   sync.Mutex // guards said
	said map[Condition]word
}

// A word counts until it expires: an application that has died says nothing.
type word struct {
	holds bool
	until time.Time
}

func newConditions(need []Condition) (*conditions, error) {
	for _, c := range need {
		if !slices.Contains(AllConditions, c) {
			return nil, fmt.Errorf("%w: condition %q: want charging, still or idle", ErrConfig, c)
		}
	}
	return &conditions{need: need, said: map[Condition]word{}}, nil
}

// say takes the application's word.
func (c *conditions) say(words map[Condition]bool, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, holds := range words {
		c.said[name] = word{holds, until}
	}
}

// heard is the word that counts now, if there is one.
func (c *conditions) heard(name Condition, now time.Time) (w word, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok = c.said[name]
	return w, ok && now.Before(w.until)
}

// lacks says which of the conditions in need do not hold; empty is none. closed is why a
// gate is closed, empty if all are open.
func (c *conditions) lacks(need []Condition, now time.Time, closed string) string {
	var out, unsaid []string
	for _, name := range need {
		w, known := c.heard(name, now)
		switch {
		case name == Idle && closed != "":
			out = append(out, "not idle ("+closed+")")
		case name == Idle || w.holds && known:
		case known:
			out = append(out, "not "+string(name))
		case !slices.Contains(unsaid, string(name)):
			unsaid = append(unsaid, string(name))
		}
	}
	if len(unsaid) > 0 { // short, for a report has room for member.MaxReason bytes
		out = append(out, "nobody says that it is "+strings.Join(unsaid, " or "))
	}
	return strings.Join(out, ", ")
}

// closedGate is why a component's gate is closed, empty if all are open.
func (n *Node) closedGate() string {
	for _, r := range n.robots {
		if g := r.cfg.Gate.State(); !g.Open {
			return r.cfg.Name + ": " + g.Reason
		}
	}
	return ""
}

// lacks says why by the configuration no image may be fetched now; empty if one may.
// Beside it the plan of a rollout counts: see lacksFor.
func (n *Node) lacks() string {
	var out []string
	if why := n.ways.lacks(); why != "" {
		out = append(out, why)
	}
	if why := n.unmet(); why != "" {
		out = append(out, why)
	}
	return strings.Join(out, ", ")
}

// unmet says which of the configuration's conditions do not hold, so that the robot
// spares itself.
func (n *Node) unmet() string { return n.without(n.conditions.need) }

// without says which of the conditions do not hold.
func (n *Node) without(need []Condition) string {
	if len(need) == 0 {
		return ""
	}
	return n.conditions.lacks(need, time.Now(), n.closedGate())
}

// underConditions fetches what a release needs while the conditions hold, and again when
// they hold again: what came is kept. Its errors are fetch's and ctx's.
func (r *robot) underConditions(ctx context.Context, release manifest.Digest, fetch func(context.Context) error) error {
	lacks := func() string { return r.n.lacksFor(release) }
	for {
		if err := r.await(ctx, lacks); err != nil {
			return err
		}
		during, cancel := context.WithCancelCause(ctx)
		var watch sync.WaitGroup
		watch.Go(func() { watchConditions(during, lacks, cancel) })
		err := fetch(during)
		lost := errors.Is(context.Cause(during), errConditions) && ctx.Err() == nil
		cancel(nil)
		watch.Wait()
		if err == nil || !lost {
			return err
		}
	}
}

// watchConditions ends a fetch when a condition does not hold any more.
func watchConditions(ctx context.Context, lacks func() string, end context.CancelCauseFunc) {
	tick := time.NewTicker(conditionPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if lacks() != "" {
				end(errConditions)
				return
			}
		}
	}
}

// await returns when the conditions hold. It says what it waits for, and that it goes on.
func (r *robot) await(ctx context.Context, lacks func() string) error {
	why := lacks()
	if why == "" {
		return nil
	}
	defer r.waitFor("")
	tick := time.NewTicker(conditionPace)
	defer tick.Stop()
	for said := ""; ; why = lacks() {
		if why == "" {
			r.n.note(Event{Kind: "fetch-goes-on", Member: string(r.n.member.ID), Component: r.cfg.Name, Text: r.cfg.Name + ": the conditions hold, fetching goes on"})
			return nil
		}
		if why != said {
			said = why
			r.waitFor(why)
			r.n.note(Event{Kind: "fetch-waits", Member: string(r.n.member.ID), Component: r.cfg.Name, Text: r.cfg.Name + " " + waitsPrefix + why})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// waitFor makes why part of what the robot reports; empty is no waiting.
func (r *robot) waitFor(why string) {
	r.waits.Store(&why)
	r.n.tell()
}

// waiting is why the robot does not fetch what it should, empty if it does.
func (r *robot) waiting() string {
	if w := r.waits.Load(); w != nil && *w != "" {
		return waitsPrefix + *w
	}
	return ""
}

// ConditionsSchema is the schema of Conditions.
const ConditionsSchema = "starling.conditions/v1"

// Conditions is what this robot's fetching depends on.
type Conditions struct {
	Schema string `json:"schema"`
	// Hold says that images may be fetched now; else Text says what is missing.
	Hold bool            `json:"hold"`
	Text string          `json:"text"`
	All  []ConditionView `json:"conditions"`
}

// A ConditionView is how one condition stands. LeftSeconds is how long the
// application's word counts, 0 if there is none.
type ConditionView struct {
	Name        Condition `json:"name"`
	Needed      bool      `json:"needed"`
	Holds       bool      `json:"holds"`
	Said        bool      `json:"said"`
	LeftSeconds float64   `json:"left_seconds"`
}

// Conditions is how they stand now.
func (n *Node) Conditions() *Conditions {
	now, closed, lacks := time.Now(), n.closedGate(), n.lacksHere()
	need := slices.Clone(n.conditions.need)
	if p := n.planTransfer(); p != nil && len(n.robots) > 0 {
		need = append(need, p.OnlyWhen...)
	}
	out := &Conditions{Schema: ConditionsSchema, Hold: lacks == "", Text: lacks}
	switch {
	case lacks == "" && len(need) == 0:
		out.Text = "transfer.only_when is empty: images are fetched at any time"
	case lacks == "":
		out.Text = "images are fetched when there are any"
	}
	for _, name := range AllConditions {
		w, said := n.conditions.heard(name, now)
		v := ConditionView{Name: name, Needed: slices.Contains(need, name), Holds: said && w.holds, Said: said}
		if said {
			v.LeftSeconds = w.until.Sub(now).Seconds()
		}
		if name == Idle {
			v.Holds = closed == ""
		}
		out.All = append(out.All, v)
	}
	return out
}

// A ConditionsRequest is the application's word on this robot's state.
type ConditionsRequest struct {
	Words   map[Condition]bool `json:"words"`
	Seconds float64            `json:"seconds"` // how long it counts, at most a day
}

// SetConditions takes the application's word. Errors wrap ErrRequest.
func (n *Node) SetConditions(q ConditionsRequest) (*Conditions, error) {
	ttl := time.Duration(q.Seconds * float64(time.Second))
	if ttl <= 0 || ttl > install.MaxLease || len(q.Words) == 0 {
		return nil, fmt.Errorf("%w: want words, and a time of more than nothing and at most %s", ErrRequest, install.MaxLease)
	}
	for _, name := range slices.Sorted(maps.Keys(q.Words)) {
		if name != Charging && name != Still {
			return nil, fmt.Errorf("%w: condition %q: want charging or still; idle is the gate's: starling gate", ErrRequest, name)
		}
	}
	n.conditions.say(q.Words, time.Now().Add(ttl))
	n.changed()
	return n.Conditions(), nil
}
