package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/join"
)

// planned is what the open rollout's plan adds to the configuration's limits for images.
type planned struct {
	plans decoded[rollout.Plan]
	asked atomic.Bool // a plan is on gather's list

	mu     sync.Mutex       // guards limits; not held across I/O
	limits artifacts.Limits // that the exchange keeps to now
}

// openRollout is the rollout whose plan narrows transfers now, nil if none does. One that
// takes itself back is none: what a robot needs to go back is never held up.
func openRollout(v *View) *order.Rollout {
	if v == nil || v.Order == nil || v.Order.Rollout == nil {
		return nil
	}
	if r := v.Order.Rollout; r.Status == order.Running || r.Status == order.Held {
		return r
	}
	return nil
}

// heed makes the exchange keep to the lower of the configuration's limits and the open
// plan's. Call it when the order may be another one, or a plan has come. A node that has
// not got the plan goes on by its configuration.
func (n *Node) heed() {
	v := n.keeper.View()
	if r := openRollout(v); r != nil && n.planOf(v, r) == nil && len(n.robots) == 0 { // robots fetch it to switch; nobody else here does
		if n.planned.asked.CompareAndSwap(false, true) && !n.want(join.PlanDocument, r.Plan) {
			n.planned.asked.Store(false)
		}
	}
	if l, fresh := n.keepTo(); fresh {
		n.log.Info("limits of transfers", "up", l.Up, "down", l.Down, "peer", l.Peer)
		n.changed()
	}
}

// keepTo hands the exchange the limits of the newest order and the plan that is known, if
// they are fresh. The lock makes the last call win that any goroutine makes.
func (n *Node) keepTo() (l artifacts.Limits, fresh bool) {
	n.planned.mu.Lock()
	defer n.planned.mu.Unlock()
	l = n.ownLimits()
	if r := openRollout(n.keeper.View()); r != nil {
		if p := n.planned.plans.known(r.Plan); p != nil {
			l = narrower(l, p.Transfer)
		}
	}
	if l == n.planned.limits {
		return l, false
	}
	n.planned.limits = l
	n.exchange.SetLimits(l)
	return l, true
}

// ownLimits are those of the configuration.
func (n *Node) ownLimits() artifacts.Limits {
	return artifacts.Limits{Up: n.cfg.UploadBytesPerSec, Down: n.cfg.DownloadBytesPerSec, Peer: n.cfg.PeerBytesPerSec, Control: n.cfg.ControlBytesPerSec}
}

// inForce are the limits that the exchange keeps to now.
func (n *Node) inForce() artifacts.Limits {
	n.planned.mu.Lock()
	defer n.planned.mu.Unlock()
	return n.planned.limits
}

// narrower is the lower of each limit; zero is none.
func narrower(l artifacts.Limits, t rollout.Transfer) artifacts.Limits {
	least := func(a, b int64) int64 {
		if a == 0 || (b != 0 && b < a) {
			return b
		}
		return a
	}
	l.Up, l.Down, l.Peer = least(l.Up, t.UpBytesPerSec), least(l.Down, t.DownBytesPerSec), least(l.Peer, t.PeerBytesPerSec)
	return l
}

// neededBy are the conditions that a plan asks for.
func neededBy(p *rollout.Plan) []Condition {
	var out []Condition
	for _, name := range p.Transfer.OnlyWhen.Names() {
		out = append(out, Condition(name))
	}
	return out
}

// lacksFor says why no image of a release may be fetched now; empty if one may. While its
// rollout is open the plan's conditions must hold beside the configuration's, and the
// plan must be here.
func (n *Node) lacksFor(release manifest.Digest) string {
	var out []string
	if why := n.lacks(); why != "" {
		out = append(out, why)
	}
	v := n.keeper.View()
	if r := openRollout(v); r != nil && r.Release.Digest == release {
		p := n.planOf(v, r)
		if p == nil {
			return strings.Join(append(out, "the plan of the rollout is not here yet"), ", ")
		}
		more := slices.DeleteFunc(neededBy(p), func(c Condition) bool { return slices.Contains(n.conditions.need, c) })
		if why := n.without(more); why != "" {
			out = append(out, why+" (by the plan)")
		}
	}
	return strings.Join(out, ", ")
}

// lacksHere is lacksFor the release that this robot would fetch, if it has any payload:
// that of the open rollout.
func (n *Node) lacksHere() string {
	if r := openRollout(n.View()); r != nil && len(n.robots) > 0 {
		return n.lacksFor(r.Release.Digest)
	}
	return n.lacks()
}

// A PlanTransfer is what the plan of the open rollout asks of transfers. Rates are in
// bytes per second, 0 is no limit.
type PlanTransfer struct {
	Rollout  uint64      `json:"rollout"`
	Release  string      `json:"release"` // version
	MaxUp    int64       `json:"max_up"`
	MaxDown  int64       `json:"max_down"`
	MaxPeer  int64       `json:"max_peer"`
	OnlyWhen []Condition `json:"only_when"`
	Text     string      `json:"text"` // the same, as one sentence
}

// planTransfer is what narrows transfers now beside the configuration, nil if nothing does.
func (n *Node) planTransfer() *PlanTransfer {
	v := n.View()
	r := openRollout(v)
	if r == nil {
		return nil
	}
	p := n.planOf(v, r)
	if p == nil || p.Transfer.IsZero() {
		return nil
	}
	t := p.Transfer
	return &PlanTransfer{
		Rollout: r.ID, Release: r.Release.Version, MaxUp: t.UpBytesPerSec, MaxDown: t.DownBytesPerSec, MaxPeer: t.PeerBytesPerSec,
		OnlyWhen: append([]Condition{}, neededBy(p)...), Text: fmt.Sprintf("the plan of rollout %d narrows transfers while it is open: %s", r.ID, t),
	}
}
