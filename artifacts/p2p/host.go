package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A Host is one robot's end of all its connections. Its methods are safe for
// concurrent use. The caller owns it and closes it.
type Host struct {
	cfg       Config
	key       envelope.Key
	sec       *security
	strangers *rate.Limiter // new connections and streams of all strangers

	running chan struct{} // closed by Run when streams may be opened
	closing chan struct{} // closed by the first shutdown
	tasks   sync.WaitGroup

	mu       sync.Mutex // guards what follows; never held over I/O or callbacks
	life     context.Context
	ended    bool
	handlers map[string]func(context.Context, *Stream)
	conns    map[envelope.Key][]*conn // by peer, oldest first; at most two each; none is direct
	directs  []*conn                  // oldest first; at most MaxPeers
	dials    map[envelope.Key]*dial   // one per peer
	inbound  map[envelope.Key]int     // open incoming streams
	lastGood map[envelope.Key]string  // address that worked last; at most MaxPeers
	pending  map[string]int           // unfinished incoming connections by remote host
	pendings int                      // sum of pending
	guests   int                      // incoming connections of strangers
}

// New returns a Host that listens but does not yet accept.
func New(cfg Config) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	sec, err := newSecurity(cfg.Key)
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg.withDefaults(), key: envelope.KeyOf(cfg.Key), sec: sec,
		strangers: rate.NewLimiter(strangersPerSec, strangersBurst),
		running:   make(chan struct{}), closing: make(chan struct{}),
		handlers: map[string]func(context.Context, *Stream){},
		conns:    map[envelope.Key][]*conn{}, dials: map[envelope.Key]*dial{},
		inbound: map[envelope.Key]int{}, lastGood: map[envelope.Key]string{}, pending: map[string]int{},
	}, nil
}

// Key is the public half of Config.Key.
func (h *Host) Key() envelope.Key { return h.key }

// Addr is the listener's address, nil without a listener.
func (h *Host) Addr() net.Addr {
	if h.cfg.Listener == nil {
		return nil
	}
	return h.cfg.Listener.Addr()
}

// Handle makes handler serve incoming streams of protocol. The handler owns the
// stream and must close it; it may keep it after it has returned. Its ctx ends
// with the connection; that one of OpenDirect has ended is seen when it is read.
// Call Handle before Run, once per protocol.
func (h *Host) Handle(protocol string, handler func(ctx context.Context, s *Stream)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, twice := h.handlers[protocol]; twice || protocol == "" || len(protocol) > maxProtocol {
		panic(fmt.Sprintf("p2p: protocol %q is handled twice, empty or longer than %d bytes", protocol, maxProtocol))
	}
	h.handlers[protocol] = handler
}

// Run accepts connections and streams until ctx ends or Close is called, and
// returns nil then; all goroutines of the Host have ended. It can run once.
// Opening streams waits for it.
func (h *Host) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	again, ended := h.life != nil, h.ended
	h.life = ctx // the span of connections, which outlive the calls that open them
	h.mu.Unlock()
	switch {
	case again:
		return fmt.Errorf("%w: Run works once; make a new Host", ErrClosed)
	case ended:
		return nil
	}
	close(h.running)

	failed := make(chan error, 1) // accept's error; at most one
	if h.cfg.Listener != nil {
		h.spawn(func() { failed <- h.accept(ctx) })
	}
	h.spawn(func() { h.sweep(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case <-h.closing:
	case err = <-failed:
	}
	cancel()
	closed := h.Close()
	h.tasks.Wait()
	if err != nil {
		return err
	}
	return closed
}

// Close ends the listener, every connection and every stream. It does not wait
// for handlers: Run does.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		return nil
	}
	h.ended = true
	all := h.directs
	for _, cs := range h.conns {
		all = append(all, cs...)
	}
	h.directs = nil
	clear(h.conns)
	h.mu.Unlock()
	slices.SortStableFunc(all, func(a, b *conn) int { return byKey(a.key, b.key) })
	close(h.closing)
	for _, c := range all {
		c.close()
	}
	if h.cfg.Listener == nil {
		return nil
	}
	if err := h.cfg.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("p2p: close the listener: %w", err)
	}
	return nil
}

// spawn runs f in a goroutine that Run awaits, unless the Host has ended.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.tasks.Go(f)
	return true
}

// accept takes raw connections in. An error of the listener that is not its end
// (no file descriptors left) is waited out.
func (h *Host) accept(ctx context.Context) error {
	const pause = 200 * time.Millisecond
	for {
		raw, err := h.cfg.Listener.Accept()
		switch {
		case err == nil:
			h.welcome(ctx, raw)
		case ctx.Err() != nil || h.isEnded():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("p2p: the listener on %s was closed by somebody else: %w", h.Addr(), err)
		default:
			h.cfg.Log.Warn("accept", "err", err)
			select {
			case <-ctx.Done():
			case <-h.closing:
			case <-time.After(pause):
			}
		}
	}
}

func (h *Host) isEnded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended
}

// welcome upgrades an incoming connection in its own goroutine and serves it,
// if not too many are doing that already.
func (h *Host) welcome(ctx context.Context, raw net.Conn) {
	from := remoteHost(raw)
	if !h.enter(from) {
		h.cfg.Log.Warn("connection refused: too many unfinished handshakes", "addr", from)
		h.cfg.Refused(envelope.Key{}, from, "too many unfinished handshakes")
		raw.Close()
		return
	}
	started := h.spawn(func() {
		p := newPulse(raw, h.cfg.Wrote)
		mux, key, err := h.sec.upgrade(ctx, p, nil, false)
		h.leave(from)
		if err != nil {
			h.cfg.Log.Debug("handshake failed", "addr", from, "err", err)
			return
		}
		c := &conn{host: h, key: key, raw: p, mux: mux, since: time.Now()}
		if err := h.take(c); err != nil {
			h.turnAway(ctx, c, from, err)
			return
		}
		c.serve(ctx)
	})
	if !started {
		h.leave(from)
		raw.Close()
	}
}

// turnAway refuses c, which came from an address, because of err. ErrRefused is no
// limit that was reached: a member of whom we have not heard yet comes in another way.
func (h *Host) turnAway(ctx context.Context, c *conn, from string, err error) {
	if errors.Is(err, ErrRefused) {
		h.cfg.Log.Debug("connection refused", "peer", c.key.Short(), "addr", from, "err", err)
	} else {
		h.cfg.Log.Warn("connection refused", "peer", c.key.Short(), "addr", from, "err", err)
		h.cfg.Refused(c.key, from, err.Error())
	}
	c.refuse(ctx)
}

// remoteHost is the other end's address without its port.
func remoteHost(raw net.Conn) string {
	if raw.RemoteAddr() == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(raw.RemoteAddr().String())
	if err != nil {
		return raw.RemoteAddr().String()
	}
	return host
}

// enter counts an unfinished connection in, or refuses it.
func (h *Host) enter(from string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ip := net.ParseIP(from)
	if h.pendings >= maxHandshakes || h.pending[from] >= maxHandshakes/4 && !ip.IsLoopback() {
		return false
	}
	h.pendings++
	h.pending[from]++
	return true
}

func (h *Host) leave(from string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pendings--
	if h.pending[from]--; h.pending[from] == 0 {
		delete(h.pending, from)
	}
}

// Disconnect closes the connections to peer and with them its streams.
func (h *Host) Disconnect(peer envelope.Key) {
	h.mu.Lock()
	cs := slices.Clone(h.conns[peer])
	for _, c := range h.directs {
		if c.key == peer {
			cs = append(cs, c)
		}
	}
	h.mu.Unlock()
	for _, c := range cs {
		h.drop(c)
	}
}

// Connected returns the peers to which a connection for any stream stands, in order of
// key. Some may have died without anybody noticing yet.
func (h *Host) Connected() []envelope.Key {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := make([]envelope.Key, 0, len(h.conns))
	for k := range h.conns {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, byKey)
	return keys
}
