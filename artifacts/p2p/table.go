package p2p

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// simultaneous reports whether o and c may have been dialed by both sides at
// the same time. Otherwise the newer one proves that the peer has lost the
// older, for whoever has a connection does not dial.
func simultaneous(o, c *conn) bool {
	return o.outbound != c.outbound && c.since.Sub(o.since) < 2*c.host.cfg.DialTimeout
}

// take enters c into the table. It closes what c replaces, and returns ErrBusy
// or ErrClosed if there is no place; c is then still open.
func (h *Host) take(c *conn) error {
	if c.key == h.key {
		return fmt.Errorf("%w: it is this robot's own key; a cloned card?", ErrUnreachable)
	}
	if c.alone() {
		return h.admitDirect(c)
	}
	stranger := !c.outbound && !h.cfg.Known(c.key)
	if stranger && !h.strangers.Allow() {
		return fmt.Errorf("%w: strangers come too fast", ErrBusy)
	}
	c.paid = stranger
	h.mu.Lock()
	closes, err := h.enlist(c, stranger)
	h.mu.Unlock()
	for _, o := range closes {
		h.cfg.Log.Debug("connection replaced", "peer", o.key.Short())
		o.close()
	}
	return err
}

// enlist is take under the lock. It returns connections to close.
func (h *Host) enlist(c *conn, stranger bool) (closes []*conn, err error) {
	if h.ended {
		return nil, ErrClosed
	}
	for _, o := range slices.Clone(h.conns[c.key]) {
		if !simultaneous(o, c) {
			h.unlist(o)
			closes = append(closes, o)
		}
	}
	crowded := stranger && h.guests >= MaxStrangers
	if crowded || len(h.conns[c.key]) == 0 && len(h.conns) >= h.cfg.MaxPeers {
		idle := h.longestIdle(crowded)
		if idle == nil {
			return closes, fmt.Errorf("%w: %d peers are connected, %d of them strangers, and none is idle", ErrBusy, len(h.conns), h.guests)
		}
		h.unlist(idle)
		closes = append(closes, idle)
	}
	if stranger {
		c.guest = true
		h.guests++
	}
	c.lastUse = time.Now()
	h.conns[c.key] = append(h.conns[c.key], c)
	return closes, nil
}

// longestIdle is the connection, the only one of its peer, that has been without
// streams for longest, nil if there is none; of guests only if so asked. Ties
// break by key.
func (h *Host) longestIdle(guests bool) (idle *conn) {
	for _, cs := range h.conns {
		c := cs[0]
		if len(cs) > 1 || c.open > 0 || guests && !c.guest {
			continue
		}
		if idle == nil || c.lastUse.Before(idle.lastUse) || c.lastUse.Equal(idle.lastUse) && byKey(c.key, idle.key) < 0 {
			idle = c
		}
	}
	return idle
}

// unlist removes c from the table if it is there. host.mu is held.
func (h *Host) unlist(c *conn) {
	h.directs = slices.DeleteFunc(h.directs, func(d *conn) bool { return d == c })
	cs := h.conns[c.key]
	i := slices.Index(cs, c)
	if i < 0 {
		return
	}
	if c.guest {
		c.guest = false
		h.guests--
	}
	if len(cs) == 1 {
		delete(h.conns, c.key)
		return
	}
	h.conns[c.key] = slices.Delete(slices.Clone(cs), i, i+1)
}

// drop removes c and closes it.
func (h *Host) drop(c *conn) {
	h.mu.Lock()
	h.unlist(c)
	h.mu.Unlock()
	c.close()
}

// best is the connection to use for a new stream to peer, nil if there is none.
func (h *Host) best(peer envelope.Key) (best *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns[peer] {
		if best == nil || c.preferred() {
			best = c
		}
	}
	return best
}

// reserve counts an incoming stream of c's peer, if there is room for it. It
// also notes when a stranger has become a member, or a member a stranger.
func (h *Host) reserve(c *conn, known bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	limit := h.cfg.MaxStreamsPerPeer
	if !known {
		limit = min(limit, MaxStrangerStreams)
	}
	if guest := !known && !c.outbound; guest != c.guest && slices.Contains(h.conns[c.key], c) {
		c.guest = guest
		if guest {
			h.guests++
		} else {
			h.guests--
		}
	}
	if h.inbound[c.key] >= limit {
		return false
	}
	h.inbound[c.key]++
	c.open++
	return true
}

// release counts a stream of c out.
func (h *Host) release(c *conn, inbound bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.open--; c.open == 0 {
		c.lastUse = time.Now()
	}
	if !inbound {
		return
	}
	if h.inbound[c.key]--; h.inbound[c.key] == 0 {
		delete(h.inbound, c.key)
	}
}

// sweep closes connections that are idle, and strangers' that are old.
func (h *Host) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range h.stale(time.Now()) {
			h.cfg.Log.Debug("connection closed: idle or a stranger's turn is over", "peer", c.key.Short())
			c.close()
		}
		for _, c := range h.outsiders() {
			h.cfg.Log.Debug("connection closed: no longer a member's", "peer", c.key.Short())
			h.drop(c)
		}
	}
}

// stale removes from the table what has outlived its use at now.
func (h *Host) stale(now time.Time) (old []*conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, cs := range h.conns {
		for _, c := range cs {
			if c.open == 0 && now.Sub(c.lastUse) >= h.cfg.IdleTimeout || c.guest && now.Sub(c.since) >= StrangerAge {
				old = append(old, c)
			}
		}
	}
	old = append(old, h.silent(now)...)
	slices.SortStableFunc(old, func(a, b *conn) int { return byKey(a.key, b.key) })
	for _, c := range old {
		h.unlist(c)
	}
	return old
}
