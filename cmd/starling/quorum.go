package main

import (
	"context"
	"errors"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

const (
	// quorumTime is how long a command waits for voters that this machine does not
	// see: an agent that has just started hears them one after the other.
	quorumTime = 15 * time.Second
	// askTime bounds the question why something took too long.
	askTime = 2 * time.Second
)

// awaitQuorum returns when enough voters are there, as this machine sees it, so that
// nothing is signed in vain. It returns a Problem of code no_quorum that names them
// if they do not come within quorumTime, or are known to be gone.
func (c *cli) awaitQuorum(ctx context.Context, v *view) error {
	if v.status.Order == nil || v.status.Quorum.OK {
		return nil
	}
	if !mayCome(&v.status.Quorum) {
		return noQuorum(v.status, "nothing was done")
	}
	c.note("waiting for voters: %s", v.status.Quorum.Text)
	short, cancel := context.WithTimeout(ctx, quorumTime)
	defer cancel()
	for s, err := range v.client.Watch(short) {
		if err != nil {
			return err
		}
		if v.status = s; s.Quorum.OK {
			return nil
		}
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ended(ctx, "nothing was done")
	}
	return noQuorum(v.status, "nothing was done")
}

// mayCome reports whether voters that were never heard would make a quorum. One that
// fell silent or said goodbye does not come back within seconds.
func mayCome(q *node.Quorum) bool {
	n := q.Alive
	for _, w := range q.Voters {
		if !w.Alive && w.State == "unheard" {
			n++
		}
	}
	return n >= q.Need
}

// noQuorum says which voters are missing, and what came of what was asked.
func noQuorum(s *node.Status, outcome string) error {
	return problem(api.NoQuorum, "switch those on, or bring them within reach, and run it again; starling status shows who is there",
		"%s: %s", outcome, s.Quorum.Text)
}

// propose brings a decision to the swarm. Where it takes too long because voters are
// missing, the error says so.
func (c *cli) propose(ctx context.Context, v *view, d *rollout.Decision) (*api.Outcome, error) {
	out, err := v.client.Propose(ctx, d)
	var p *api.Problem
	if !errors.As(err, &p) || (p.Code != api.TimedOut && p.Code != api.NoQuorum) {
		return out, err
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime) // ctx's time is over
	defer cancel()
	if s, askErr := v.client.Status(short); askErr == nil && !s.Quorum.OK {
		return nil, noQuorum(s, "it is not decided, and may still be when voters are back")
	}
	return nil, err
}
