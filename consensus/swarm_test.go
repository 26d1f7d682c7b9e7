package consensus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

const testH = 100 * time.Millisecond

// key returns the same key for the same number.
func key(i int) ed25519.PrivateKey {
	seed := manifest.Sum(fmt.Appendf(nil, "voter %d", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

func voter(i int) order.Voter {
	return order.Voter{Member: member.Index(i), Key: envelope.KeyOf(key(i)), Server: fmt.Sprintf("robot-%d", i)}
}

// founding is a genesis of n voters.
func founding(n int) *order.Genesis {
	g := &order.Genesis{Format: order.GenesisFormat, Reason: "test"}
	g.Order = order.Order{Format: order.Format, Swarm: "test", Generation: 1, Level: 1, Time: 1_700_000_000}
	g.Order.Electorate.Version = 1
	for i := range n {
		g.Order.Electorate.Voters = append(g.Order.Electorate.Voters, voter(i))
	}
	return g
}

// hub is a network of pipes between keys.
type hub struct {
	mu    sync.Mutex
	ports map[envelope.Key]*port
	off   map[envelope.Key]bool
	conns []*pipe
	bytes int // written by anybody
}

type pipe struct {
	net.Conn
	hub  *hub
	a, b envelope.Key
}

func (p *pipe) Write(b []byte) (int, error) {
	p.hub.mu.Lock()
	p.hub.bytes += len(b)
	p.hub.mu.Unlock()
	return p.Conn.Write(b)
}

type port struct {
	hub  *hub
	key  envelope.Key
	in   chan *pipe
	done chan struct{}
	once sync.Once
}

func newHub() *hub {
	return &hub{ports: map[envelope.Key]*port{}, off: map[envelope.Key]bool{}}
}

// port is the end of k; it replaces an earlier one.
func (h *hub) port(k envelope.Key) *port {
	p := &port{hub: h, key: k, in: make(chan *pipe), done: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports[k] = p
	return p
}

// cut takes k off the network, or puts it back.
func (h *hub) cut(k envelope.Key, off bool) {
	h.mu.Lock()
	h.off[k] = off
	conns := h.conns
	h.mu.Unlock()
	for _, c := range conns {
		if off && (c.a == k || c.b == k) {
			c.Close()
		}
	}
}

func (h *hub) reach(a, b envelope.Key) (*port, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.ports[b]
	if h.off[a] || h.off[b] || p == nil {
		return nil, errors.New("no route")
	}
	return p, nil
}

func (p *port) Dial(ctx context.Context, to envelope.Key) (net.Conn, error) {
	q, err := p.hub.reach(p.key, to)
	if err != nil {
		return nil, err
	}
	x, y := net.Pipe()
	mine, theirs := &pipe{x, p.hub, p.key, to}, &pipe{y, p.hub, p.key, to}
	p.hub.mu.Lock()
	p.hub.conns = append(p.hub.conns, mine, theirs)
	p.hub.mu.Unlock()
	select {
	case q.in <- theirs:
		return mine, nil
	case <-q.done:
		return nil, errors.New("refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *port) Accept() (net.Conn, envelope.Key, error) {
	select {
	case c := <-p.in:
		return c, c.a, nil
	case <-p.done:
		return nil, envelope.Key{}, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// swarm is voters on one hub.
type swarm struct {
	t       *testing.T
	hub     *hub
	genesis *order.Genesis
	seats   map[int]*seat
	dir     string        // each seat has its own below
	moved   chan struct{} // something may have changed somewhere
	every   uint64        // Config.SnapshotEvery

	mu      sync.Mutex
	running map[envelope.Key]*Replica
	checker map[int]func(prev, next *rollout.State) error
}

// seat is one voter, running or not.
type seat struct {
	voter order.Voter
	dir   string
	r     *Replica
	stop  context.CancelFunc
	done  chan error
}

func newSwarm(t *testing.T, founders int) *swarm {
	s := &swarm{
		t: t, dir: t.TempDir(), hub: newHub(), genesis: founding(founders), seats: map[int]*seat{}, moved: make(chan struct{}, 1),
		running: map[envelope.Key]*Replica{}, checker: map[int]func(_, _ *rollout.State) error{},
	}
	t.Cleanup(func() {
		for i := range s.seats {
			s.stop(i)
		}
	})
	return s
}

// found starts all founders.
func (s *swarm) found() *swarm {
	for i := range s.genesis.Order.Electorate.Voters {
		s.start(i)
	}
	return s
}

func (s *swarm) config(i int) Config {
	if s.seats[i] == nil {
		s.seats[i] = &seat{voter: voter(i), dir: filepath.Join(s.dir, fmt.Sprint(i))}
	}
	v := s.seats[i].voter
	return Config{
		Log: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("at", i),
		Dir: s.seats[i].dir, Key: key(i), Self: v.Member, Server: v.Server, Genesis: s.genesis,
		GenesisDigest: s.genesis.Seal().Digest(), TrustRoot: manifest.Sum([]byte("root")),
		Streams: s.hub.port(v.Key), Heartbeat: testH, SnapshotEvery: s.every,
		Checker: func(prev, next *rollout.State) error {
			s.mu.Lock()
			f := s.checker[i]
			s.mu.Unlock()
			if f == nil {
				return nil
			}
			return f(prev, next)
		},
		Push: func(_ context.Context, to order.Voter, sig SignedStatement) error { return s.push(v.Key, to.Key, sig) },
	}
}

// push carries a signature as bytes.
func (s *swarm) push(from, to envelope.Key, sig SignedStatement) error {
	if _, err := s.hub.reach(from, to); err != nil {
		return err
	}
	s.mu.Lock()
	r := s.running[to]
	s.mu.Unlock()
	if r == nil {
		return errors.New("not running")
	}
	got, err := DecodeSigned(sig.Encode())
	if err != nil {
		return err
	}
	return r.AddSignature(from, got)
}

// start runs seat i; known is what its node has verified.
func (s *swarm) start(i int, known ...order.Proven) *Replica {
	c := s.config(i)
	c.Known = known
	r, err := New(c)
	require.NoError(s.t, err)
	s.run(i, r)
	return r
}

func (s *swarm) run(i int, r *Replica) {
	ctx, cancel := context.WithCancel(s.t.Context())
	n := s.seats[i]
	n.r, n.stop, n.done = r, cancel, make(chan error, 1)
	s.mu.Lock()
	s.running[n.voter.Key] = r
	s.mu.Unlock()
	go func() { n.done <- r.Run(ctx) }()
	go func() {
		for {
			select {
			case <-r.Changed():
			case <-r.NewCertificate():
			case <-ctx.Done():
				return
			}
			poke(s.moved)
		}
	}()
}

// stop ends seat i and returns what Run said.
func (s *swarm) stop(i int) error {
	n := s.seats[i]
	if n == nil || n.r == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.running, n.voter.Key)
	s.mu.Unlock()
	n.stop()
	err := <-n.done
	require.NoError(s.t, n.r.Close())
	require.NoError(s.t, n.r.Close(), "twice")
	n.r = nil
	return err
}

// ends waits until seat i has ended by itself and returns what Run said.
func (s *swarm) ends(i int) error {
	s.t.Helper()
	n := s.seats[i]
	select {
	case err := <-n.done:
		n.done <- err // for stop
		return err
	case <-time.After(300 * testH):
		s.t.Fatalf("seat %d goes on: %s", i, s)
		return nil
	}
}

// until waits for a condition; what names it.
func (s *swarm) until(what string, cond func() bool) {
	s.t.Helper()
	limit := time.NewTimer(300 * testH)
	defer limit.Stop()
	look := time.NewTicker(testH / 10)
	defer look.Stop()
	for !cond() {
		select {
		case <-s.moved:
		case <-look.C:
		case <-limit.C:
			s.t.Fatalf("waited too long until %s: %s", what, s)
		}
	}
}

// String says where everybody is.
func (s *swarm) String() string {
	out := ""
	for i, n := range s.seats {
		if n.r != nil {
			out += fmt.Sprintf(" [%d term %d leader %v state %d/%d certified %s]", i, n.r.Term(), n.r.IsLeader(), n.r.State().OrderIndex, n.r.State().Index, n.r.Certified().Order.Pointer())
		}
	}
	return out
}

// leader waits for one and returns its number.
func (s *swarm) leader() int {
	s.t.Helper()
	at := -1
	s.until("somebody leads", func() bool {
		for i, n := range s.seats {
			if n.r != nil && n.r.IsLeader() && !s.cutOff(i) {
				at = i
				return true
			}
		}
		return false
	})
	return at
}

func (s *swarm) cutOff(i int) bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.hub.off[s.seats[i].voter.Key]
}

func checkpoint() *rollout.Decision {
	return &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindCheckpoint, Time: 1_700_000_001}
}

// propose brings d through, whoever leads, and returns the index of the order then.
func (s *swarm) propose(d *rollout.Decision) uint64 {
	s.t.Helper()
	for {
		l := s.seats[s.leader()].r
		before := l.State().OrderIndex
		err := l.Propose(s.t.Context(), d)
		var not ErrNotLeader
		if errors.As(err, &not) || errors.Is(err, ErrUnsure) && l.State().OrderIndex == before {
			continue
		}
		if !errors.Is(err, ErrUnsure) {
			require.NoError(s.t, err)
		}
		return l.State().OrderIndex
	}
}

// certified waits until all running voters that are on the network have a
// certified order at index or above.
func (s *swarm) certified(index uint64) {
	s.t.Helper()
	s.until(fmt.Sprintf("order %d is certified", index), func() bool {
		for i, n := range s.seats {
			if n.r != nil && !s.cutOff(i) && n.r.Certified().Order.Index < index {
				return false
			}
		}
		return true
	})
}

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
