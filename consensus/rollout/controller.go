package rollout

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// BatchDelay is how long the first report worth observing waits for others.
	BatchDelay = 200 * time.Millisecond
	// ProposalTimeout is how long a proposal is waited for: then it was lost, and is
	// made again if it still makes sense.
	ProposalTimeout = 5 * time.Second
	// PollInterval is how often a rollout is looked at while nothing is reported.
	PollInterval = 5 * time.Second
	// PulseInterval is how long the log may be quiet while a robot's deadline runs, if
	// that is half of what the next decision may add to State.Clock or less, so that
	// the clock loses nothing.
	PulseInterval = 2 * time.Minute
)

// An Event is something that a Controller is told. The set is closed.
type Event interface {
	fmt.Stringer
	event()
}

// StateChanged says that a decision was applied. The first event of a Controller
// must be one. It keeps State and does not change it; nobody else may either.
type StateChanged struct{ State *State }

// Reported brings a robot's report, verified, with the envelope that proves it. A
// new leader brings all that its table holds.
type Reported struct {
	Health *member.Health
	Sealed []byte
}

// SnapshotDue says that the log has grown so long that it should be compacted,
// which takes a certified index.
type SnapshotDue struct{}

// Tick says that time has passed: see Controller.Deadline.
type Tick struct{}

func (StateChanged) event() {}
func (Reported) event()     {}
func (SnapshotDue) event()  {}
func (Tick) event()         {}

func (e StateChanged) String() string { return fmt.Sprintf("state at %d", e.State.Index) }
func (e Reported) String() string {
	return fmt.Sprintf("robot %d: %s %s", e.Health.Robot, e.Health.Phase, e.Health.Result)
}
func (SnapshotDue) String() string { return "snapshot due" }
func (Tick) String() string        { return "tick" }

// Controller proposes what should be decided next. Only the leader has one. It
// does no I/O and reads no clock; the caller brings events and time in and carries
// decisions out. Equal events in equal order give equal decisions. It is not safe
// for concurrent use: one goroutine owns it.
//
// It is trusted with nothing: the worst that a wrong one can do is to propose
// what Apply refuses, or nothing. Of each kind it has one proposal out at a time,
// until the state changes or ProposalTimeout has passed.
type Controller struct {
	state  *State
	inbox  inbox
	out    map[Kind]time.Time // when the open proposal of a kind was made
	since  time.Time          // when the first report worth observing came; zero is none
	polled time.Time          // when an advance was last tried
	moved  time.Time          // when the state last changed
	due    bool               // a checkpoint is wanted: for a snapshot, or as voters may not sign the order

	// baseTime is State.Time when the local time was baseAt: the swarm's time runs
	// on from there, while it is within MaxAheadSeconds of the local one.
	baseTime int64
	baseAt   time.Time
}

// NewController returns a controller that knows nothing yet.
func NewController() *Controller {
	return &Controller{inbox: newInbox(), out: map[Kind]time.Time{}}
}

// Step records e and returns the decisions it leads to, oldest first. now is the
// node's best idea of the time, not below that of the newest certified order.
func (c *Controller) Step(now time.Time, e Event) []Decision {
	switch e := e.(type) {
	case StateChanged:
		c.changed(now, e.State)
	case Reported:
		if c.state != nil && c.state.component(e.Health.Component) != nil {
			c.inbox.add(e)
		}
	case SnapshotDue:
		c.due = true
	}
	if c.state == nil {
		return nil
	}
	var out []Decision
	if d, ok := c.observe(now); ok {
		out = append(out, d)
	}
	_, isChange := e.(StateChanged)
	if d, ok := c.advance(now, isChange); ok {
		out = append(out, d)
	}
	if c.due && c.free(now, KindCheckpoint) {
		out = append(out, c.propose(now, Decision{Kind: KindCheckpoint}))
	}
	return out
}

// changed takes a newer state.
func (c *Controller) changed(now time.Time, s *State) {
	switch {
	case c.state == nil:
		c.due = s.Index > s.OrderIndex && s.live()
	case s.OrderIndex > c.state.OrderIndex:
		c.due = false
	case s.heals(c.state):
		c.due = true
	}
	if local := now.Unix(); s.Time > c.clock(now) && s.Time <= local+MaxAheadSeconds {
		c.baseTime, c.baseAt = s.Time, now
	}
	c.state, c.moved = s, now
	c.due = c.due || s.OrderTime > now.Unix()+MaxAheadSeconds
	clear(c.out)
}

// clock is the time to stamp: the local one, or the swarm's if that is ahead by no
// more than honest clocks may differ.
func (c *Controller) clock(now time.Time) int64 {
	local, swarm := now.Unix(), c.baseTime+int64(now.Sub(c.baseAt)/time.Second)
	if swarm > local+MaxAheadSeconds {
		return local
	}
	return max(local, swarm)
}

// free reports whether no proposal of the kind is on its way.
func (c *Controller) free(now time.Time, k Kind) bool {
	at, found := c.out[k]
	return !found || now.Sub(at) >= ProposalTimeout
}

func (c *Controller) propose(now time.Time, d Decision) Decision {
	d.Format, d.Time = DecisionFormat, c.clock(now)
	c.out[d.Kind] = now
	return d
}

// live reports whether there is a rollout to watch.
func (c *Controller) live() bool { return c.state != nil && c.state.live() }

func (s *State) live() bool { return s.Rollout != nil && !s.Rollout.Status.Final() }

// observe proposes the reports worth observing, once the first has waited a moment
// for others.
func (c *Controller) observe(now time.Time) (Decision, bool) {
	if !c.live() {
		c.since = time.Time{}
		return Decision{}, false
	}
	worth := c.inbox.worth(c.state, c.clock(now))
	switch {
	case len(worth) == 0:
		c.since = time.Time{}
		return Decision{}, false
	case c.since.IsZero():
		c.since = now
	}
	if !c.free(now, KindObserve) || (now.Sub(c.since) < BatchDelay && len(worth) < MaxObserved) {
		return Decision{}, false
	}
	c.since = time.Time{}
	return c.propose(now, Decision{Kind: KindObserve, Observe: worth}), true
}

// advance proposes an advance if a trial of it on a copy changes the state, or if
// the log has been quiet for PulseInterval while a deadline runs. Reports that wait to be observed go
// first, but no longer than PollInterval.
func (c *Controller) advance(now time.Time, changed bool) (Decision, bool) {
	soon := now.Sub(c.polled) < PollInterval
	if !c.live() || !c.free(now, KindAdvance) || (soon && (!changed || !c.since.IsZero())) {
		return Decision{}, false
	}
	c.polled = now
	d := Decision{Format: DecisionFormat, Kind: KindAdvance, Time: c.clock(now)}
	quiet := now.Sub(c.moved) >= c.pulse() && c.ticking()
	if !quiet && c.state.Clone().Apply(c.state.Index+1, &d) != nil {
		return Decision{}, false
	}
	return c.propose(now, d), true
}

// pulse is how long the log may be quiet now.
func (c *Controller) pulse() time.Duration {
	return min(PulseInterval, time.Duration(c.state.gap())*time.Second/2)
}

// ticking reports whether some robot's deadline may be running.
func (c *Controller) ticking() bool {
	r := c.state.Rollout
	return r.Status == order.RollingOff || (r.Status == order.Running && r.Stage > order.Sim) || len(c.state.flying()) > 0
}

// Deadline is when Step next wants a Tick though nothing happens; zero is never.
func (c *Controller) Deadline() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if c.live() {
		sooner(c.polled.Add(PollInterval))
		if out, found := c.out[KindAdvance]; found {
			at = time.Time{}
			sooner(out.Add(ProposalTimeout))
		}
		if !c.since.IsZero() {
			wait := c.since.Add(BatchDelay)
			if out, found := c.out[KindObserve]; found && out.Add(ProposalTimeout).After(wait) {
				wait = out.Add(ProposalTimeout)
			}
			sooner(wait)
		}
	}
	if c.due {
		sooner(c.out[KindCheckpoint].Add(ProposalTimeout))
	}
	return at
}

// inFlightShare and restShare say how often a robot is observed though it says
// nothing new: that part of the silence deadline.
const (
	inFlightShare = 4
	restShare     = 2
)

// refresh is after how many seconds of State.Clock a robot is to be observed again.
func refresh(p *Plan, flying bool) int64 {
	if flying {
		return max(int64(p.SilenceDeadlineSeconds)/inFlightShare, 1)
	}
	return max(int64(p.SilenceDeadlineSeconds)/restShare, 1)
}

// clockAt is what Clock will be when a decision stamped t is applied.
func (s *State) clockAt(t int64) int64 {
	return s.Clock + max(0, min(t-s.Time, s.gap()))
}

// watched is the gate that reports are weighed against now, and whether there is one.
func (r *Rollout) watched() (gate, bool) {
	if r.Stage < order.Canary || r.Stage > order.Soak {
		return gate{}, false
	}
	return r.gateOf(r.Stage, r.Wave), true
}
