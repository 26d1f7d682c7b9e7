package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

// maxReportBytes bounds one pushed health report.
const maxReportBytes = 512

// healthTable is member.Table for several goroutines.
type healthTable struct {
	mu sync.Mutex // guards t and at; never held across I/O
	t  *member.Table
	at map[member.Index]time.Time // when each member was last heard
}

func newHealthTable() *healthTable {
	return &healthTable{t: member.NewTable(), at: map[member.Index]time.Time{}}
}

func (h *healthTable) merge(r *member.Health, sealed []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := h.t.Merge(r, sealed)
	if news {
		h.at[r.Robot] = time.Now()
	}
	return news
}

func (h *healthTable) all() []member.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t.All()
}

func (h *healthTable) newest(i member.Index, component string) (member.Report, time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, ok := h.t.Newest(i, component)
	return r, h.at[i], ok
}

func (h *healthTable) failure(i member.Index, component string) (member.Report, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t.Failure(i, component)
}

// answerReport takes a health report, from the robot itself or passed on.
func (n *Node) answerReport(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
	v := n.keeper.View()
	h, _, err := member.OpenHealth(request, v.Swarm, v.keyOf)
	if err != nil {
		return nil, err
	}
	n.heard(h, request, v.keyOf(h.Robot) == peer)
	return nil, nil
}

// heard keeps a verified report and hands it to the leader's machine. What matters
// for a gate is passed on to the other voters when it comes from the robot itself,
// for it may reach only one of them. It reports whether it was news.
func (n *Node) heard(h *member.Health, sealed []byte, firstHand bool) bool {
	if !n.health.merge(h, sealed) {
		return false
	}
	n.changed()
	n.turns.heard(h)
	if h.Phase == member.Committed || h.Phase == member.Reverted {
		n.catchups.leave(h.Robot)
	}
	select {
	case n.voter.reports <- rollout.Reported{Health: h, Sealed: sealed}:
	default: // the leader reads them all; others do not read
		select {
		case <-n.voter.reports:
		default:
		}
	}
	if firstHand && h.Result == member.Failed && n.voter.replica.Load() != nil {
		select {
		case n.relays <- sealed:
		default: // the robot says it again
		}
	}
	return true
}

// report says how this robot is: at each change, and now and then.
func (n *Node) report(ctx context.Context) error {
	defer close(n.goodbye)
	boots, err := n.dir.boot(time.Now())
	if err != nil {
		n.log.Error("start not counted; the clock must do", "err", err)
	}
	boot := randomUint64()
	sequence, round := boots<<32, 0
	tick := time.NewTimer(0)
	defer tick.Stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxPushes)
	say := func(health func() *member.Health) {
		sequence++
		n.sequence.Store(sequence) // before the report is made: see order.Armed.Sequence
		h := health()
		v := n.keeper.View()
		h.Robot, h.Boot, h.Sequence, h.Level = v.Self, boot, sequence, n.level()
		h.Generation, h.Order = v.Pointer().Generation, v.Pointer().Index
		h.Leaving = n.leaving.Load()
		sealed := h.Seal(v.Swarm).Sign(n.priv).Encode()
		n.heard(h, sealed, false)
		n.tellSwarm(ctx, g, h, sealed)
	}
	for {
		select {
		case <-ctx.Done():
			return errors.Join(g.Wait())
		case <-n.telling:
		case <-tick.C:
			tick.Reset(jitter(n.time.report))
			n.pushAccusations(ctx, g)
		case sealed := <-n.relays:
			n.push(ctx, g, reportProtocol, sealed)
			continue
		}
		round++
		n.turnTeller(round)
		for _, r := range n.robots {
			say(r.health)
		}
		if n.saysLevel(n.keeper.View()) {
			say(levelReport)
		}
		if n.leaving.Load() { // the last word: it is worth waiting for
			return g.Wait()
		}
	}
}

// maxPushes bounds the reports on their way at one time.
const maxPushes = 32

// push sends a report or a proof to the voters and to operators that are there. What
// does not arrive is said again at the next tick.
func (n *Node) push(ctx context.Context, g *errgroup.Group, protocol string, sealed []byte) {
	for _, to := range n.listeners() {
		g.TryGo(func() error {
			if _, err := n.ask(ctx, to, protocol, sealed, 16); err != nil && ctx.Err() == nil {
				n.log.Debug("not delivered", "protocol", protocol, "peer", to.Short(), "err", err)
			}
			return nil
		})
	}
}

// listeners are the voters, and the operators whom gossip holds alive.
func (n *Node) listeners() []envelope.Key {
	v := n.keeper.View()
	var out []envelope.Key
	if v.Electorate != nil {
		for _, s := range v.Electorate.Voters {
			if s.Member != v.Self {
				out = append(out, s.Key)
			}
		}
	}
	for _, m := range n.gossip.Members() {
		key := v.keyOf(m.Index)
		if m.Index == v.Self || m.State != gossip.Alive || key.IsZero() || v.Roster.At(m.Index).Role != member.Operator {
			continue
		}
		if v.Electorate == nil || v.Electorate.Seat(key) < 0 {
			out = append(out, key)
		}
	}
	return out
}

// tell wakes report: something changed that the swarm should hear.
func (n *Node) tell() {
	select {
	case n.telling <- struct{}{}:
	default:
	}
	n.changed()
}

// meta is what this node says of itself in gossip.
func (n *Node) meta(v *View) gossip.Meta {
	self, _ := n.self(v)
	m := gossip.Meta{Bulk: self.Bulk, Control: self.Control, Level: uint8(n.level())}
	set := func(on bool, flag uint8) {
		if on {
			m.Flags |= flag
		}
	}
	set(v.Votes(), gossip.FlagVoter)
	set(n.operator != nil, gossip.FlagOperator)
	set(v.Halted, gossip.FlagHalted)
	set(v.Order != nil && v.Order.Level > n.level(), gossip.FlagTooOld)
	if n.voter != nil {
		r := n.voter.replica.Load()
		set(r != nil && r.IsLeader(), gossip.FlagLeader)
	}
	for _, r := range n.robots {
		s := r.status()
		set(s.Held, gossip.FlagHeld)
		// Not its progress: a hundred robots that say so all along a download fill
		// what gossip can carry. Health reports say it to those who ask.
		m.Phase, m.Release = s.Phase, uint8(s.Running.Counter)
		switch s.Result {
		case member.Good:
			m.Health = gossip.HealthGood
		case member.Failed:
			m.Health = gossip.HealthBad
		}
	}
	return m
}

// advertise keeps the gossip metadata up to date.
func (n *Node) advertise(ctx context.Context) error {
	for {
		next := n.wake.next()
		n.gossip.SetMeta(n.meta(n.keeper.View()))
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		}
	}
}

// errNoVoter says that nobody decides yet.
var errNoVoter = fmt.Errorf("node: the swarm has no voters yet: %d robots that may vote must join first", foundingVoters)
