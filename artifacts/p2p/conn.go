package p2p

import (
	"bytes"
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

func byKey(a, b envelope.Key) int { return bytes.Compare(a[:], b[:]) }

// A conn is one authenticated connection. While it is in Host.conns the Host
// owns it; serve runs as long as it lives.
type conn struct {
	host     *Host
	key      envelope.Key // of the peer, proved
	raw      *pulse
	mux      network.MuxedConn
	outbound bool      // we dialed
	since    time.Time // when the keys were proved
	paid     bool      // a stranger's first stream, which its connection has paid for; serve's

	// Guarded by host.mu.
	open    int       // streams in both directions
	lastUse time.Time // when open became zero
	guest   bool      // counted in host.guests
	moved   int64     // of a direct connection: what raw had heard and sent when that was looked at,
	movedAt time.Time // and when it had grown last
}

// alone reports whether the connection carries one stream only.
func (c *conn) alone() bool {
	_, ok := c.mux.(*direct)
	return ok
}

// close ends the connection and its streams. The raw connection goes first, so
// that nothing of the muxer's own closing can wait for a dead link.
func (c *conn) close() {
	c.raw.Close()
	c.mux.Close()
}

// refuse ends the connection and tells the peer that there is no room, if that
// works within a moment.
func (c *conn) refuse(ctx context.Context) {
	const moment = time.Second
	ctx, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.raw.Close() })()
	_ = c.mux.CloseWithError(network.ConnResourceLimitExceeded)
	c.close()
}

// preferred reports whether this is the one to use of two connections that
// arose because both sides dialed at once: both choose alike, and the other one
// falls idle.
func (c *conn) preferred() bool {
	return c.outbound == (byKey(c.host.key, c.key) < 0)
}

// serve accepts streams until the connection ends.
func (c *conn) serve(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.host.drop(c)
	c.host.cfg.Log.Debug("connected", "peer", c.key.Short(), "addr", c.raw.RemoteAddr(), "outbound", c.outbound)
	for {
		s, err := c.mux.AcceptStream()
		if err != nil {
			c.host.cfg.Log.Debug("disconnected", "peer", c.key.Short(), "err", err)
			return
		}
		c.incoming(ctx, s)
	}
}

// incoming starts a handler for s, or resets it with the reason.
func (c *conn) incoming(ctx context.Context, s network.MuxedStream) {
	known := c.host.cfg.Known(c.key)
	// Were a stranger asked to pay for its first stream again, then with thrice as
	// many strangers as there is room for, one in nine would get through and not one
	// in three, and they would all come again.
	if !known && !c.paid && !c.host.strangers.Allow() {
		c.host.cfg.Refused(c.key, remoteHost(c.raw), "strangers open streams too fast")
		_ = s.ResetWithError(network.StreamRateLimited)
		return
	}
	c.paid = false
	if !c.host.reserve(c, known) {
		c.host.cfg.Refused(c.key, remoteHost(c.raw), "too many streams")
		_ = s.ResetWithError(network.StreamResourceLimitExceeded)
		return
	}
	st := &Stream{c: c, s: s, inbound: true}
	if !c.host.spawn(func() { st.answer(ctx) }) {
		_ = st.Reset()
	}
}

// watch closes c if nothing is heard from it for a whole period before ctx ends.
// It is for times when an answer is due.
func (c *conn) watch(ctx context.Context, period time.Duration) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for heard := c.raw.heard.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := c.raw.heard.Load()
		if now == heard {
			c.host.cfg.Log.Debug("connection closed: silent", "peer", c.key.Short())
			c.host.drop(c)
			return
		}
		heard = now
	}
}
