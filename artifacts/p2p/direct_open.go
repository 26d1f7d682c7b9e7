package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// directSilence is how long nothing may move over a direct connection: no muxer asks the
// peer whether it is still there.
const directSilence = 2 * keepAlive

// directParts is how many members it takes at least to fill the table with connections
// that they have dialed.
const directParts = 4

// errNoDirect is a peer that answers, and would not agree on a direct connection.
var errNoDirect = errors.New("no connection for one stream")

// OpenDirect is Open with a connection for this stream alone, which costs a handshake
// and spares processor time with every byte: for streams that bring much over fast
// links. A peer that has no place for one more, or does not know of such connections,
// gets a stream over one that stands, or is made, for all; one that cannot be dialed,
// over one that stands.
//
// The stream differs from others in this: it ends with ErrReset when nothing has moved,
// in either direction, for directSilence; that the connection has ended is noticed by
// whoever reads or writes; CloseWrite waits for a peer that does not read, as Write does;
// and after a write that has failed, at its deadline too, nothing more can be written.
func (h *Host) OpenDirect(ctx context.Context, peer envelope.Key, protocol string) (*Stream, error) {
	s, err := h.tryDirect(ctx, peer, protocol)
	return s, h.told(ctx, err, peer, protocol)
}

func (h *Host) tryDirect(ctx context.Context, peer envelope.Key, protocol string) (*Stream, error) {
	if err := h.ready(ctx, peer, protocol); err != nil {
		return nil, err
	}
	if h.directsFull() {
		return h.tryOpen(ctx, "", peer, protocol)
	}
	c, err := h.dialPeer(ctx, "", peer, true)
	if err == nil {
		var s *Stream
		if s, err = h.openOn(ctx, c, protocol); err == nil {
			return s, nil
		}
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrClosed):
		return nil, err
	case errors.Is(err, errNoDirect) || errors.Is(err, ErrBusy):
		return h.tryOpen(ctx, "", peer, protocol)
	}
	return h.openStanding(ctx, peer, protocol, err)
}

// openStanding opens a stream over a connection that stands. It does not dial: that was
// tried just now, and err is what came of it.
func (h *Host) openStanding(ctx context.Context, peer envelope.Key, protocol string, err error) (*Stream, error) {
	for range 2 { // at most two stand
		c := h.best(peer)
		if c == nil || ctx.Err() != nil {
			break
		}
		s, why := h.openOn(ctx, c, protocol)
		if why == nil || !c.mux.IsClosed() {
			return s, why
		}
		h.drop(c)
	}
	return nil, err
}

func (h *Host) directsFull() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.directs) >= h.cfg.MaxPeers
}

// admitDirect enters a direct connection into its table, or returns ErrBusy, ErrRefused
// or ErrClosed. Of the incoming ones a member holds a part, with those whose streams have
// just ended.
func (h *Host) admitDirect(c *conn) error {
	if !c.outbound && !h.cfg.Known(c.key) {
		if !h.strangers.Allow() {
			return fmt.Errorf("%w: strangers come too fast", ErrBusy)
		}
		return fmt.Errorf("%w: strangers share one connection", ErrRefused)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return ErrClosed
	}
	theirs := 0
	for _, o := range h.directs {
		if !o.outbound && o.key == c.key {
			theirs++
		}
	}
	if len(h.directs) >= h.cfg.MaxPeers || !c.outbound && theirs >= max(1, h.cfg.MaxPeers/directParts) {
		return fmt.Errorf("%w: %d streams have connections of their own, %d of them the peer's", ErrBusy, len(h.directs), theirs)
	}
	c.movedAt = time.Now()
	h.directs = append(h.directs, c)
	return nil
}

// silent returns the direct connections over which nothing has moved for too long: to
// write much to a peer that has nothing to say is no silence. host.mu is held.
func (h *Host) silent(now time.Time) (old []*conn) {
	for _, c := range h.directs {
		if moved := c.raw.heard.Load() + c.raw.sent.Load(); moved != c.moved {
			c.moved, c.movedAt = moved, now
		}
		if now.Sub(c.movedAt) >= directSilence {
			old = append(old, c)
		}
	}
	return old
}

// outsiders returns the incoming direct connections of who is no longer a member.
func (h *Host) outsiders() []*conn {
	h.mu.Lock()
	all := slices.Clone(h.directs)
	h.mu.Unlock()
	return slices.DeleteFunc(all, func(c *conn) bool { return c.outbound || h.cfg.Known(c.key) })
}
