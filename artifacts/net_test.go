package artifacts_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
)

// Goroutines that were told to end take their time on a busy machine.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		err := goleak.Find()
		for end := time.Now().Add(time.Minute); err != nil && time.Now().Before(end); {
			err = goleak.Find()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// An image is a manifest with its bytes.
type image struct {
	m      *manifest.Manifest
	chunks [][]byte
}

// newImage makes an image of n chunks of about 40 KiB; every fourth compresses.
func newImage(n int) *image {
	r := rand.NewChaCha8([32]byte{byte(n)})
	size := rand.New(r)
	im := &image{m: &manifest.Manifest{Format: manifest.Format, PieceBytes: manifest.MinPieceBytes}}
	for i := range n {
		b := make([]byte, 20<<10+size.IntN(40<<10))
		if i%4 != 0 {
			_, _ = r.Read(b) // never fails
		}
		b[0], b[1] = byte(i), byte(i>>8)
		im.add(b)
	}
	im.m.Entries = []manifest.Entry{{Path: "image", Kind: manifest.File, Mode: 0o644, Bytes: uint64(im.m.Bytes())}}
	return im
}

func (im *image) add(b []byte) {
	im.chunks = append(im.chunks, b)
	im.m.Chunks = append(im.m.Chunks, manifest.Chunk{Digest: manifest.Sum(b), Bytes: uint32(len(b))})
}

// empty is a store that holds nothing of the image.
func (im *image) empty() *store.Mem { return store.NewMem(im.m) }

// with is a store that holds the chosen pieces.
func (im *image) with(t testing.TB, has func(piece int) bool) *store.Mem {
	s := im.empty()
	for i, p := range im.m.Pieces() {
		if !has(i) {
			continue
		}
		for k := range p.Count {
			require.NoError(t, s.WriteChunk(p.First+k, im.chunks[p.First+k]))
		}
	}
	return s
}

func (im *image) full(t testing.TB) *store.Mem {
	return im.with(t, func(int) bool { return true })
}

// A swarm is members connected by pipes. In a bubble its time is virtual.
type swarm struct {
	t      testing.TB
	ctx    context.Context // ends with the test
	cancel context.CancelFunc
	nodes  []*node

	mu    sync.Mutex
	pipes []*pipe
	cut   func(a, b int) bool // no connection between these; nil is none
	wg    sync.WaitGroup      // of handlers
}

// A node is one member: an exchange, or somebody hostile in its place.
type node struct {
	w      *swarm
	i      int
	key    envelope.Key
	x      *artifacts.Exchange
	handle func(ctx context.Context, s artifacts.Stream, peer envelope.Key)

	mu     sync.Mutex
	events []artifacts.Event
	wrote  int64 // bytes sent, of everything
	opened int   // streams opened to it
}

// newSwarm makes n members; the first is a seed. change, which may be nil, bends
// the configuration of each.
func newSwarm(t testing.TB, n int, change func(i int, c *artifacts.Config)) *swarm {
	ctx, cancel := context.WithCancel(context.Background())
	w := &swarm{t: t, ctx: ctx, cancel: cancel}
	t.Cleanup(func() { cancel(); w.wg.Wait() })
	for i := range n {
		m := &node{w: w, i: i, key: envelope.Key(sha256.Sum256([]byte{byte(i), byte(i >> 8)}))}
		c := artifacts.Config{Peers: m, Seed: i == 0, Retry: 200 * time.Millisecond, Events: m.note}
		if change != nil {
			change(i, &c)
		}
		var err error
		m.x, err = artifacts.New(c)
		require.NoError(t, err)
		m.handle = func(ctx context.Context, s artifacts.Stream, peer envelope.Key) { _ = m.x.Serve(ctx, s, peer) }
		w.nodes = append(w.nodes, m)
	}
	return w
}

func (m *node) note(e artifacts.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// rejected counts the chunks that m rejected from a member, and whether it was left out.
func (m *node) rejected(from *node) (n int, out bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if r, ok := e.(artifacts.ChunkRejected); ok && r.From == from.key {
			n++
			out = out || r.Out
		}
	}
	return n, out
}

// faults is the last fault of a kind that m found with a member; zero is none.
func (m *node) faults(of *node, kind artifacts.Fault) (last artifacts.PeerFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if f, ok := e.(artifacts.PeerFault); ok && f.From == of.key && f.Kind == kind {
			last = f
		}
	}
	return last
}

// opens is how many streams were opened to m.
func (m *node) opens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened
}

func (m *node) sent() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrote
}

// Candidates lists everybody else, the seed first, the others in an order of m's own.
func (m *node) Candidates() []envelope.Key {
	var out []envelope.Key
	for _, n := range m.w.nodes {
		if n != m {
			out = append(out, n.key)
		}
	}
	rest := out[min(1, m.i):]
	r := rand.New(rand.NewPCG(uint64(m.i), 0))
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return out
}

var errCut = errors.New("no route to the member")

// Open connects to a member and lets it handle the stream.
func (m *node) Open(_ context.Context, to envelope.Key) (artifacts.Stream, error) {
	w := m.w
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.key == to })
	n := w.nodes[i]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut != nil && w.cut(m.i, i) {
		return nil, errCut
	}
	a, b := net.Pipe()
	here, there := &pipe{a, m, n}, &pipe{b, n, m}
	w.pipes = append(w.pipes, here, there)
	n.mu.Lock()
	n.opened++
	n.mu.Unlock()
	w.wg.Go(func() { n.handle(w.ctx, there, m.key) })
	return here, nil
}

// partition cuts these connections, the standing ones too.
func (w *swarm) partition(cut func(a, b int) bool) {
	w.mu.Lock()
	w.cut = cut
	pipes := slices.Clone(w.pipes)
	w.mu.Unlock()
	for _, p := range pipes {
		if cut != nil && (cut(p.me.i, p.to.i) || cut(p.to.i, p.me.i)) {
			_ = p.Reset()
		}
	}
}

// pipe is one end of a connection.
type pipe struct {
	net.Conn
	me, to *node
}

func (p *pipe) Reset() error { return p.Close() }

func (p *pipe) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.me.mu.Lock()
	p.me.wrote += int64(n)
	p.me.mu.Unlock()
	return n, err
}

// fetch starts fetches into empty stores on these nodes, and serves the stores for as
// long as the test runs. wait returns when all are complete.
func (w *swarm) fetch(im *image, nodes ...int) (stores []*store.Mem, wait func()) {
	for range nodes {
		stores = append(stores, im.empty())
	}
	return stores, w.fetchInto(stores, nodes...)
}

func (w *swarm) fetchInto(stores []*store.Mem, nodes ...int) (wait func()) {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Minute) // of virtual time, mostly
	for k, i := range nodes {
		w.nodes[i].x.Hold(stores[k])
		wg.Go(func() { errs[k] = w.nodes[i].x.Fetch(ctx, stores[k], nil) })
	}
	return func() {
		wg.Wait()
		cancel()
		for k, s := range stores {
			require.NoError(w.t, errs[k], "node %d", nodes[k])
			require.True(w.t, s.Complete(), "node %d", nodes[k])
		}
	}
}

func upTo(n int) (out []int) {
	for i := 1; i <= n; i++ {
		out = append(out, i)
	}
	return out
}

func (w *swarm) stats(i int, im *image) artifacts.Stats {
	s, ok := w.nodes[i].x.Stats(im.m.Digest())
	require.True(w.t, ok)
	return s
}

// count returns how many events of type T a node has had.
func count[T artifacts.Event](m *node) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if _, ok := e.(T); ok {
			n++
		}
	}
	return n
}

// bytesOf is the most that n chunks can have.
func (im *image) bytesOf(n int) (sum int64) {
	var sizes []int
	for _, c := range im.m.Chunks {
		sizes = append(sizes, int(c.Bytes))
	}
	slices.Sort(sizes)
	for _, b := range sizes[len(sizes)-n:] {
		sum += int64(b)
	}
	return sum
}

// pieceBytes is the most that a piece has.
func (im *image) pieceBytes() (most int64) {
	for _, p := range im.m.Pieces() {
		most = max(most, p.Bytes)
	}
	return most
}
