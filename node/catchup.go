package node

import (
	"fmt"
	"sync"
	"time"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// catchUpMin is how many robots may catch up at once in swarms so small that a tenth
// of them would be less.
const catchUpMin = 2

// catchUpFor is how long a robot that catches up is counted.
const catchUpFor = 2 * time.Minute

// catchups are the robots that this voter has let catch up lately. Voters take turns
// instead: see turns.
type catchups struct {
	mu sync.Mutex // guards at
	at map[member.Index]time.Time
}

// enter lets a robot in if fewer than limit others are, those in others among them; it
// returns why not.
func (c *catchups) enter(i member.Index, others member.Set, limit int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, at := range c.at {
		if time.Since(at) > catchUpFor {
			delete(c.at, k)
		} else if k != i {
			others = others.With(int(k))
		}
	}
	if n := others.Count(); n >= limit {
		return fmt.Sprintf("%d robots are between two releases already; wait", n)
	}
	c.at[i] = time.Now()
	return ""
}

// leave says that a robot has finished.
func (c *catchups) leave(i member.Index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.at, i)
}

// mayCatchUp lets a robot switch outside of a batch, a few at a time: those that this
// voter let go itself, and those that say that they are on trial. It returns why not.
func (n *Node) mayCatchUp(v *View, a *order.Armed) string {
	var flying member.Set
	for _, m := range v.Roster.Members {
		if m.Index != a.Robot && n.onTrial(v, m.Index, catchUpFor) {
			flying = flying.With(int(m.Index))
		}
	}
	return n.catchups.enter(a.Robot, flying, max(catchUpMin, len(v.Roster.Members)/10))
}
