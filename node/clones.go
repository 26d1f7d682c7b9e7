package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/gossip"
)

// cloneFor is how long two machines under one name stay a warning after they were
// last found; gossip finds them again and again.
const cloneFor = 10 * time.Minute

// maxClones bounds the conflicts remembered; the oldest go first.
const maxClones = 16

// clones remembers members that run twice.
type clones struct {
	mu  sync.Mutex // guards all; never held across I/O
	all []clone
}

type clone struct {
	gossip.Conflict
	at time.Time
}

// add remembers a conflict and reports whether it was not known.
func (c *clones) add(x gossip.Conflict) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := len(c.all)
	c.all = slices.DeleteFunc(c.all, func(y clone) bool { return y.Index == x.Index })
	news := len(c.all) == old
	if len(c.all) == maxClones {
		c.all = c.all[1:]
	}
	c.all = append(c.all, clone{x, time.Now()})
	return news
}

// recent are the conflicts found lately.
func (c *clones) recent() []gossip.Conflict {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(y clone) bool { return time.Since(y.at) > cloneFor })
	out := make([]gossip.Conflict, len(c.all))
	for i, y := range c.all {
		out[i] = y.Conflict
	}
	return out
}

// watchClones notes members that run twice.
func (n *Node) watchClones(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case x := <-n.gossip.Conflicts():
			if n.clones.add(x) {
				name := n.keeper.View().nameOf(x.Index)
				n.log.Error("one member, two machines", "member", name, "first", x.HostA, "second", x.HostB)
				n.note(Event{Kind: "clone", Member: name, Text: fmt.Sprintf("two machines run as %s, at %s and %s", name, x.HostA, x.HostB)})
			}
		}
	}
}
