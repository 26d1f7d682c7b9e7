package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// orders is everything that any node has ever verified, together: what the swarm
// has decided, seen from above.
type orders struct {
	at       map[order.Pointer]decided
	genesis  map[uint32]begun   // by generation
	rollouts map[uint64]*course // by number
	active   map[manifest.Digest]bool
	expires  map[manifest.Digest]int64 // of plans, by digest, in Unix seconds
	newest   *order.Order
	since    time.Duration // when newest was first seen
}

// decided is what was certified at one index, and who showed it first.
type decided struct {
	order, state manifest.Digest
	who          string
}

type begun struct {
	digest manifest.Digest
	who    string
}

// course is one rollout as orders have shown it.
type course struct {
	generation uint32
	start      uint64
	voters     uint32 // electorate of the first order that showed it
	// unfinished is the highest index at which it was not over.
	unfinished uint64
	opened     member.Set // ever, by any order
	stages     []passed   // as they were entered, oldest first
	last       *order.Order
}

// passed is one stage of a course, with the robots opened up to its end.
type passed struct {
	stage  order.Stage
	wave   uint8
	opened member.Set
}

func newOrders() *orders {
	return &orders{
		at: map[order.Pointer]decided{}, genesis: map[uint32]begun{}, rollouts: map[uint64]*course{},
		active: map[manifest.Digest]bool{}, expires: map[manifest.Digest]int64{},
	}
}

// proof is an order with all that shows that it is the swarm's.
type proof struct {
	genesis *order.Genesis
	digest  manifest.Digest // of the genesis envelope
	chain   []order.Proven
	newest  order.Proven
}

// quorumOf is how many of n voters must have signed: more than half of those that
// are not hostile, if a third is.
func quorumOf(n int) int {
	hostile := (n - 1) / 3
	for q := 1; ; q++ {
		if 2*q > n+hostile { // any two quorums share an honest voter
			return q
		}
	}
}

// signers are the voters of e whose right signature is on c.
func signers(c *order.Certificate, e *order.Electorate) int {
	good := map[envelope.Key]bool{}
	for _, s := range c.Signatures {
		if slices.ContainsFunc(e.Voters, func(v order.Voter) bool { return v.Key == s.Key }) && c.Statement.Verify(s) {
			good[s.Key] = true
		}
	}
	return len(good)
}

// check follows the voters from the genesis to the newest order, and returns the
// first thing that is not proven. It is written apart from order.Ledger on purpose.
func (p *proof) check() error {
	voters, parent := p.genesis.Order.Electorate, p.digest
	proven := func(o *order.Order, c *order.Certificate, by *order.Electorate) error {
		if c == nil {
			return fmt.Errorf("%s has no certificate", o.Pointer())
		}
		if s := &c.Statement; s.Order != o.Digest() || s.Generation != o.Generation || s.Index != o.Index || s.Swarm != o.Swarm {
			return fmt.Errorf("the certificate of %s is for another order", o.Pointer())
		}
		if n, q := signers(c, by), quorumOf(len(by.Voters)); n < q {
			return fmt.Errorf("%s is signed by %d of %d voters, %d must be", o.Pointer(), n, len(by.Voters), q)
		}
		return nil
	}
	for _, link := range p.chain {
		o := link.Order
		if o.Electorate.Version != voters.Version+1 || o.Parent != parent {
			return fmt.Errorf("%s changes electorate %d to %d, out of line", o.Pointer(), voters.Version, o.Electorate.Version)
		}
		for _, by := range []*order.Electorate{&voters, &o.Electorate} {
			if err := proven(o, link.Certificate, by); err != nil {
				return err
			}
		}
		voters, parent = o.Electorate, o.Digest()
	}
	o := p.newest.Order
	switch {
	case o.Index == 0 && o.Digest() == p.genesis.Order.Digest():
		return nil
	case !slices.Equal(o.Electorate.Voters, voters.Voters):
		return fmt.Errorf("%s has other voters than the chain leads to", o.Pointer())
	case o.Parent != parent && o.Digest() != parent:
		return fmt.Errorf("%s is of another line of voters", o.Pointer())
	}
	return proven(o, p.newest.Certificate, &voters)
}

// learn takes what a node has verified; entered names the stages that this order
// shows to be over for the first time.
func (b *orders) learn(who string, p *proof, now time.Duration) (complaints []complaint, over []passed) {
	o := p.newest.Order
	at, d := o.Pointer(), decided{order: o.Digest(), who: who}
	if c := p.newest.Certificate; c != nil {
		d.state = c.Statement.State
	}
	was, known := b.at[at]
	switch {
	case known && was.order != d.order:
		complaints = append(complaints, complain("one-order", "%s: %s has order %s, %s has %s", at, was.who, was.order.Short(), who, d.order.Short()))
	case known && was.state != d.state:
		complaints = append(complaints, complain("one-leader", "%s: %s has certified state %s, %s has %s: two commands at one index", at, was.who, was.state.Short(), who, d.state.Short()))
	case known:
		return nil, nil
	}
	b.at[at] = d
	if err := p.check(); err != nil {
		complaints = append(complaints, complain("one-order", "%s believes an order that is not certified: %v", who, err))
	}
	complaints = append(complaints, b.begins(who, p)...)
	for _, c := range o.Components {
		b.active[c.Active.Digest] = true
	}
	if b.newest == nil || b.newest.Pointer().Before(at) {
		b.newest, b.since = o, now
	}
	if o.Rollout == nil {
		return complaints, nil
	}
	more, over := b.follow(o)
	return append(complaints, more...), over
}

// begins judges a generation's start.
func (b *orders) begins(who string, p *proof) []complaint {
	g := p.newest.Order.Generation
	was, known := b.genesis[g]
	if !known {
		b.genesis[g] = begun{p.digest, who}
		return nil
	}
	if was.digest != p.digest {
		return []complaint{complain("one-generation", "generation %d begins with %s for %s and with %s for %s", g, was.digest.Short(), was.who, p.digest.Short(), who)}
	}
	return nil
}

// follow takes an order's rollout. Two are under way at once if one is not over just
// below the start of a later one, or above it.
func (b *orders) follow(o *order.Order) (complaints []complaint, over []passed) {
	r := o.Rollout
	c := b.rollouts[r.ID]
	if c == nil {
		if was := b.rollouts[r.ID-1]; was != nil && !b.ended(was, o) {
			complaints = append(complaints, complain("one-active-rollout", "rollout %d shows at %s, and rollout %d, %s at %s, has left no trace of an end", r.ID, o.Pointer(), r.ID-1, was.last.Rollout.Status, was.last.Pointer()))
		}
		c = &course{generation: o.Generation, start: r.Start, voters: o.Electorate.Version}
		b.rollouts[r.ID] = c
	}
	if !r.Status.Final() {
		c.unfinished = max(c.unfinished, o.Index)
	}
	for id, other := range b.rollouts {
		if id > r.ID && other.generation == c.generation && c.unfinished+1 >= other.start {
			complaints = append(complaints, complain("one-active-rollout", "rollout %d is %s at %s, after rollout %d started at %d", r.ID, r.Status, o.Pointer(), id, other.start))
		}
		if id < r.ID && other.generation == c.generation && other.unfinished+1 >= c.start {
			complaints = append(complaints, complain("one-active-rollout", "rollout %d started at %d, but rollout %d was under way at %d", r.ID, c.start, id, other.unfinished))
		}
	}
	c.opened = c.opened.Union(r.Opened)
	if c.last == nil || c.last.Pointer().Before(o.Pointer()) {
		over = c.enter(r)
		c.last = o
	}
	return complaints, over
}

// ended reports whether a course can have ended before a later order that does not
// show it any more: it was seen to, or its release is active now, or in quarantine
// since robots met it, or its plan ran out.
func (b *orders) ended(c *course, o *order.Order) bool {
	r := c.last.Rollout
	active := slices.ContainsFunc(o.Components, func(x order.Component) bool { return x.Active.Digest == r.Release.Digest })
	return r.Status.Final() || active || o.Quarantined(r.Release.Digest) || r.Opened.Count() == 0 || o.Generation != c.generation || o.Time > b.expires[r.Plan]
}

// enter notes which stage a newer order shows, and returns those that are over now.
func (c *course) enter(r *order.Rollout) (over []passed) {
	n := len(c.stages)
	if n > 0 && c.stages[n-1].stage == r.Stage && c.stages[n-1].wave == r.Wave {
		c.stages[n-1].opened = c.stages[n-1].opened.Union(r.Opened)
		return nil
	}
	if n > 0 {
		over = []passed{c.stages[n-1]}
	}
	c.stages = append(c.stages, passed{r.Stage, r.Wave, r.Opened})
	return over
}

// before are the robots opened before stage i of the course.
func (c *course) before(stage order.Stage, wave uint8) member.Set {
	var set member.Set
	for _, s := range c.stages {
		if s.stage == stage && s.wave == wave {
			break
		}
		set = s.opened
	}
	return set
}
