package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
)

const (
	// stickRate is what a USB stick reads and writes, in bytes per second; stickVisit is
	// what a person needs for each robot besides.
	stickRate  = 20e6
	stickVisit = 2 * time.Minute
	// worthPermille is what a swarm takes of the least time that is possible (README).
	worthPermille = 1100
)

// assumed is what a link gives while nothing is measured, in bytes per second, by the
// profile that the operator chose for it.
var assumed = map[string]int64{"lan": 2_500_000, "mesh": 125_000, "narrow": 8_000, "local": 50_000_000}

// A cost is what a rollout puts on the links, before anything is compressed or packed.
type cost struct {
	Robots int `json:"robots"` // that lack something
	// Most is what one robot lacks at most, Total what all lack together.
	Most  int64 `json:"most_bytes"`
	Total int64 `json:"total_bytes"`
	// Whole says that the older images are not known here, and count as nothing.
	Whole bool `json:"whole_images"`
	// Rate of one link, in bytes per second; Links is how many were measured for it, 0
	// if it is only assumed. Shared says that all robots share one radio.
	Rate   int64 `json:"rate"`
	Links  int   `json:"measured_links"`
	Shared bool  `json:"shared_radio"`
	// Limit is what the plan lets one machine send or take in, the lower of both; 0 is
	// none.
	Limit int64 `json:"plan_rate"`
	// Seconds is how long all of it takes; on a shared radio that is its airtime.
	Seconds int64 `json:"seconds"`
	// StickSeconds is how long a person with a USB stick takes.
	StickSeconds int64 `json:"stick_seconds"`
}

// price makes a cost of what each robot lacks, of the links, and of what the plan lets
// them carry.
func price(lacks []int64, t *node.Transfer, by rollout.Transfer) cost {
	c := cost{Shared: t.Profile == "mesh" || t.Profile == "narrow"}
	for _, n := range lacks {
		if n > 0 {
			c.Robots++
		}
		c.Most, c.Total = max(c.Most, n), c.Total+n
	}
	c.Rate, c.Links = rateOf(t)
	if c.Total == 0 {
		return c
	}
	up, down := lower(c.Rate, by.UpBytesPerSec), lower(c.Rate, by.DownBytesPerSec)
	c.Limit = lower(by.UpBytesPerSec, by.DownBytesPerSec)
	// Kumar and Ross 2006: robots that have it pass it on.
	seconds := max(float64(c.Most)/float64(min(up, down)), float64(c.Total)/(float64(up)*float64(c.Robots+1)))
	if c.Shared { // whoever sends, the others wait
		seconds = max(seconds, float64(c.Total)/float64(c.Rate))
	}
	c.Seconds = int64(seconds*worthPermille/1000) + 1
	copying := time.Duration(float64(c.Most) / stickRate * float64(time.Second))
	c.StickSeconds = int64((copying + time.Duration(c.Robots)*(stickVisit+copying)).Seconds())
	return c
}

// rateOf is what a link gives: the middle of what was measured from here, or what is
// assumed, and never more than this machine may send.
func rateOf(t *node.Transfer) (rate int64, links int) {
	var seen []int64
	for _, m := range t.Measured {
		if r := max(m.Up, m.Down); r > 0 {
			seen = append(seen, r)
		}
	}
	rate = assumed[t.Profile]
	if rate == 0 {
		rate = assumed[node.DefaultProfile]
	}
	if len(seen) > 0 {
		slices.Sort(seen)
		rate = seen[len(seen)/2]
	}
	if t.MaxUp > 0 && (t.Plan == nil || t.Plan.MaxUp != t.MaxUp) { // the open plan's is over before this one starts
		rate = min(rate, t.MaxUp)
	}
	return rate, len(seen)
}

// lower is the lower of two rates, of which 0 is none.
func lower(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// cost is what this rollout puts on the links. What the agent does not know of older
// images counts as if robots had nothing.
func (p *prospect) costOf(ctx context.Context, v *view, all *node.Nodes) (cost, error) {
	missing, whole, err := p.missing(ctx, v)
	if err != nil {
		return cost{}, err
	}
	var lacks []int64
	for _, m := range v.roster.Robots() {
		w := p.release.For(m.Labels)
		if w == nil {
			continue
		}
		switch runs := running(all, m.Index, p.plan.Component, p.plan.From.Digest); {
		case runs == p.plan.Release.Digest:
		case runs == p.plan.From.Digest && !runs.IsZero():
			lacks = append(lacks, missing[w.Name])
		default:
			lacks = append(lacks, int64(w.Bytes))
		}
	}
	c := price(lacks, &v.status.Transfer, p.plan.Transfer)
	c.Whole = whole
	return c, nil
}

// missing is what a robot on the older release lacks, by variant.
func (p *prospect) missing(ctx context.Context, v *view) (bytes map[string]int64, whole bool, err error) {
	bytes = map[string]int64{}
	for _, w := range p.release.Variants {
		bytes[w.Name] = int64(w.Bytes)
	}
	if p.plan.From.IsZero() {
		return bytes, false, nil
	}
	fresh := &side{rel: p.release, agent: v}
	if p.star != "" {
		b, err := bundle.Open(p.star)
		if err != nil {
			return nil, false, err
		}
		defer b.Close() //nolint:errcheck // open for reading only
		fresh = &side{rel: p.release, file: b}
	}
	rel, _, err := v.document(ctx, p.plan.From)
	if err != nil {
		return bytes, true, nil //nolint:nilerr // an agent need not have what is old
	}
	d, err := diff(ctx, &side{rel: rel, agent: v}, fresh)
	if err != nil {
		return bytes, true, nil //nolint:nilerr // nor its manifests
	}
	for _, w := range d.Variants {
		bytes[w.Variant] = w.Missing
	}
	return bytes, false, nil
}

// running is what a robot last said it runs of a component, or else the release that
// the swarm runs.
func running(all *node.Nodes, i member.Index, component string, active manifest.Digest) manifest.Digest {
	for _, w := range all.Nodes {
		if w.Index != i {
			continue
		}
		for _, r := range w.Reports {
			if r.Component == component && r.Running != nil {
				return r.Running.Digest
			}
		}
	}
	return active
}

// sayCost says what is to be sent, how long that takes, and whether there is a quicker
// way.
func (c *cli) sayCost(x *cost, star string) {
	if x.Robots == 0 {
		c.say("nothing is to be sent: the robots have it")
		return
	}
	c.say("to send: %s, before it is compressed and packed: %d robots lack up to %s each%s", bytesWords(x.Total), x.Robots, bytesWords(x.Most), wholeWords(x))
	c.say("about %s %s", span(time.Duration(x.Seconds)*time.Second), rateWords(x))
	if x.StickSeconds < x.Seconds {
		c.say("%s a USB stick is faster: about %s for a person who goes to %d robots with %s", c.paint(yellow, "!"),
			span(time.Duration(x.StickSeconds)*time.Second), x.Robots, star)
		c.next("on each robot: starling release import %s; then it copies from there what it would fetch", star)
	}
}

func wholeWords(x *cost) string {
	if x.Whole {
		return " (what they run is not known here, so all of it counts)"
	}
	return ""
}

func rateWords(x *cost) string {
	way := fmt.Sprintf("from robot to robot at %s/s a link", bytesWords(x.Rate))
	if x.Shared {
		way = fmt.Sprintf("of airtime on one shared radio at %s/s", bytesWords(x.Rate))
	}
	if x.Limit > 0 && x.Limit < x.Rate {
		way += fmt.Sprintf(", of which the plan lets a machine use %s/s", bytesWords(x.Limit))
	}
	if x.Links == 0 {
		return way + " (assumed: nothing is measured from here yet)"
	}
	return fmt.Sprintf("%s (measured from here, %d links)", way, x.Links)
}
