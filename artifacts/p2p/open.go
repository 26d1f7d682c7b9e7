package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A dial is one attempt to connect to a peer, shared by all who wait for it.
type dial struct {
	done chan struct{} // closed by the one who dials, after c and err are set
	at   string        // as connect's
	c    *conn
	err  error
}

// Open opens a stream to peer for protocol, over the connection that stands or
// a new one to an address from Config.Resolve. ctx bounds the opening only.
// Errors are ErrNoAddress, ErrUnreachable (with ErrWrongKey), ErrRefused,
// ErrBusy, ErrClosed and those of ctx.
func (h *Host) Open(ctx context.Context, peer envelope.Key, protocol string) (*Stream, error) {
	return h.openAt(ctx, "", peer, protocol)
}

// OpenAt is Open with an address, for instance from an invite. The peer must
// prove its key all the same. A connection that stands is used, wherever to.
func (h *Host) OpenAt(ctx context.Context, addr string, peer envelope.Key, protocol string) (*Stream, error) {
	if addr == "" {
		return nil, fmt.Errorf("open %s to %s: %w", protocol, peer.Short(), ErrNoAddress)
	}
	return h.openAt(ctx, addr, peer, protocol)
}

func (h *Host) openAt(ctx context.Context, addr string, peer envelope.Key, protocol string) (*Stream, error) {
	s, err := h.tryOpen(ctx, addr, peer, protocol)
	return s, h.told(ctx, err, peer, protocol)
}

// told is err for whoever asked for the stream.
func (h *Host) told(ctx context.Context, err error, peer envelope.Key, protocol string) error {
	if err == nil {
		return nil
	}
	if h.isEnded() && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return fmt.Errorf("open %s to %s: %w", protocol, peer.Short(), err)
}

// tryOpen retries over a fresh connection when the one that stood was dead.
func (h *Host) tryOpen(ctx context.Context, addr string, peer envelope.Key, protocol string) (*Stream, error) {
	if err := h.ready(ctx, peer, protocol); err != nil {
		return nil, err
	}
	const attempts = 3 // two connections at most stand, then a fresh one
	for range attempts - 1 {
		c, fresh, err := h.connect(ctx, addr, peer)
		if err != nil {
			return nil, err
		}
		s, err := h.openOn(ctx, c, protocol)
		if err == nil || fresh || !c.mux.IsClosed() || ctx.Err() != nil {
			return s, err
		}
		h.drop(c)
	}
	c, _, err := h.connect(ctx, addr, peer)
	if err != nil {
		return nil, err
	}
	return h.openOn(ctx, c, protocol)
}

// ready waits until streams may be opened, and refuses what cannot be one.
func (h *Host) ready(ctx context.Context, peer envelope.Key, protocol string) error {
	switch {
	case peer == h.key:
		return fmt.Errorf("%w: it is this robot itself", ErrUnreachable)
	case protocol == "" || len(protocol) > maxProtocol:
		return fmt.Errorf("%w: a protocol name of %d bytes, the limit is %d", ErrRefused, len(protocol), maxProtocol)
	}
	select {
	case <-h.running:
		return nil
	case <-h.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("%w: the host does not run", ErrUnreachable)
	}
}

// openOn opens a stream over c. When the link stays silent for DialTimeout it
// closes c; a link that is merely slow is waited for.
func (h *Host) openOn(ctx context.Context, c *conn, protocol string) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	h.mu.Lock()
	c.open++
	h.mu.Unlock()
	h.spawn(func() { c.watch(ctx, h.cfg.DialTimeout) })
	ms, err := c.mux.OpenStream(ctx)
	if err != nil {
		h.release(c, false)
		return nil, blame(err)
	}
	s := &Stream{c: c, s: ms}
	stop := context.AfterFunc(ctx, func() { _ = ms.Reset() })
	err = s.propose(protocol)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = s.Reset()
		return nil, blame(err)
	}
	return s, nil
}

// blame says in our words why a stream could not be opened.
func blame(err error) error {
	var stream *network.StreamError
	var conn *network.ConnError
	switch {
	case errors.Is(err, ErrRefused) || errors.Is(err, ErrBusy):
		return err
	case errors.As(err, &stream) && stream.Remote:
		switch stream.ErrorCode {
		case network.StreamGated, network.StreamProtocolNegotiationFailed:
			return fmt.Errorf("%w: it does not know or not admit us to the protocol", ErrRefused)
		default:
			return fmt.Errorf("%w: the peer takes no stream now", ErrBusy)
		}
	case errors.As(err, &conn) && conn.Remote && conn.ErrorCode == network.ConnResourceLimitExceeded:
		return fmt.Errorf("%w: the peer takes no connection now", ErrBusy)
	}
	return fmt.Errorf("%w: %v", ErrUnreachable, err)
}

// connect returns the connection to peer, and whether it was dialed now: at
// addr, or where Config.Resolve says if that is empty. Only one caller dials a
// peer at a time, the others wait for it.
func (h *Host) connect(ctx context.Context, addr string, peer envelope.Key) (c *conn, fresh bool, err error) {
	for {
		if c := h.best(peer); c != nil {
			return c, false, nil
		}
		h.mu.Lock()
		d := h.dials[peer]
		mine := d == nil
		if mine {
			d = &dial{done: make(chan struct{}), at: addr}
			h.dials[peer] = d
		}
		h.mu.Unlock()
		if mine {
			d.c, d.err = h.dialPeer(ctx, addr, peer, false)
			h.mu.Lock()
			delete(h.dials, peer)
			h.mu.Unlock()
			close(d.done)
		}
		select {
		case <-d.done:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("%w: somebody else's dial has not ended", ErrUnreachable)
		}
		if d.err == nil {
			return d.c, true, nil
		}
		if c := h.best(peer); c != nil { // the peer came to us meanwhile
			return c, false, nil
		}
		if mine || ctx.Err() != nil || d.at == addr && !errors.Is(d.err, errGaveUp) {
			return nil, false, d.err
		}
	}
}

// errGaveUp marks a dial whose caller left before it was known how it ends.
var errGaveUp = errors.New("the caller gave up")

// dialPeer tries the addresses one after the other, the one that worked last
// first, and enters the connection into the table; alone as in upgrade.
func (h *Host) dialPeer(ctx context.Context, addr string, peer envelope.Key, alone bool) (*conn, error) {
	addrs := []string{addr}
	if addr == "" {
		addrs = h.addresses(peer)
	}
	if len(addrs) == 0 {
		return nil, ErrNoAddress
	}
	h.mu.Lock()
	life := h.life
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	var errs []error
	for _, a := range addrs {
		c, err := h.dialOne(ctx, a, peer, alone)
		if err == nil {
			return c, h.adopt(life, c, a)
		}
		if errs = append(errs, fmt.Errorf("%s: %w", a, err)); ctx.Err() != nil {
			errs = append(errs, errGaveUp)
			break
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(errs...))
}

// addresses is Resolve's answer, with the one that worked last first.
func (h *Host) addresses(peer envelope.Key) []string {
	addrs := slices.Clone(h.cfg.Resolve(peer))
	h.mu.Lock()
	good := h.lastGood[peer]
	h.mu.Unlock()
	if i := slices.Index(addrs, good); i > 0 {
		addrs = slices.Insert(slices.Delete(addrs, i, i+1), 0, good)
	}
	return addrs[:min(len(addrs), maxAddrs)]
}

// dialOne connects to one address and makes the peer prove its key.
func (h *Host) dialOne(ctx context.Context, addr string, peer envelope.Key, alone bool) (*conn, error) {
	dctx, cancel := context.WithTimeout(ctx, h.cfg.DialTimeout)
	defer cancel()
	raw, err := h.cfg.Dial(dctx, addr)
	if err != nil {
		return nil, err
	}
	p := newPulse(raw, h.cfg.Wrote)
	mux, key, err := h.sec.upgrade(ctx, p, &peer, alone)
	if alone && declined(err) {
		return nil, fmt.Errorf("%w: %w", errNoDirect, err)
	}
	if err != nil {
		return nil, err
	}
	return &conn{host: h, key: key, raw: p, mux: mux, outbound: true, since: time.Now()}, nil
}

// adopt enters a connection that was dialed at addr and serves it.
func (h *Host) adopt(life context.Context, c *conn, addr string) error {
	if err := h.take(c); err != nil {
		c.close()
		return err
	}
	if !h.spawn(func() { c.serve(life) }) {
		h.drop(c)
		return ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lastGood) >= h.cfg.MaxPeers {
		clear(h.lastGood)
	}
	h.lastGood[c.key] = addr
	return nil
}
