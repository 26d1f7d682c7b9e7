// Command starling is a member of a measured swarm that runs package artifacts as it
// ships: libp2p over TLS 1.3, every chunk verified, stored with flushes and a journal.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/bench/peer"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/store"
)

func main() { os.Exit(peer.Main(&robot{})) }

type robot struct {
	spec     peer.Spec
	key      ed25519.PrivateKey
	host     *p2p.Host
	exchange *artifacts.Exchange
	image    *store.Image
	pack     *store.Image // that leads to image; nil without
	old      *store.Image // that is installed; nil without
	release  []func()     // each ends a Hold
	stop     context.CancelFunc
	stopped  chan error // from host.Run; depth 1

	mu     sync.Mutex // guards the fields below
	others map[envelope.Key]peer.Address
	lost   map[envelope.Key]bool // cut off
	from   map[int]int64         // bytes read from each member
	tell   func(peer.Notice)
}

// Open implements peer.System.
func (r *robot) Open(spec peer.Spec) (addr, id string, err error) {
	r.spec, r.tell = spec, func(peer.Notice) {}
	r.others, r.lost, r.from = map[envelope.Key]peer.Address{}, map[envelope.Key]bool{}, map[int]int64{}
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", "", err
	}
	r.key = key
	l, err := net.Listen("tcp", spec.Listen)
	if err != nil {
		return "", "", err
	}
	r.host, err = p2p.New(p2p.Config{Key: r.key, Listener: l, Resolve: r.resolve, Known: r.known, Admit: r.admit})
	if err != nil {
		return "", "", err
	}
	r.exchange, err = artifacts.New(artifacts.Config{
		Peers: neighbours{r}, Self: envelope.Key(pub), Seed: spec.Seed, UploadBytesPerSec: spec.UploadBytesPerSec, Events: r.event,
	})
	if err != nil {
		return "", "", err
	}
	if err := r.openImages(); err != nil {
		return "", "", err
	}
	r.host.Handle(artifacts.Protocol, func(ctx context.Context, s *p2p.Stream) {
		var to artifacts.Stream = s
		if spec.Options["lie"] != "" {
			to = &liar{Stream: s, m: r.image.Manifest()}
		}
		_ = r.exchange.Serve(ctx, to, s.Peer()) // the other side tells if it matters
	})
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.stopped = stop, make(chan error, 1)
	go func() { r.stopped <- r.host.Run(ctx) }()
	return l.Addr().String(), hex.EncodeToString(pub), nil
}

// Connect implements peer.System.
func (r *robot) Connect(others []peer.Address) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.others)
	for _, a := range others {
		key, err := hex.DecodeString(a.ID)
		if err != nil || len(key) != len(envelope.Key{}) {
			return fmt.Errorf("member %d: bad key %q", a.Index, a.ID)
		}
		r.others[envelope.Key(key)] = a
	}
	return nil
}

// Fetch implements peer.System.
func (r *robot) Fetch(ctx context.Context, tell func(peer.Notice)) error {
	r.mu.Lock()
	r.tell = tell
	r.mu.Unlock()
	if r.spec.Seed {
		return nil
	}
	if err := r.update(ctx); err != nil {
		return err
	}
	return r.exchange.Fetch(ctx, r.image, func(permille int) { tell(peer.Notice{At: "progress", Permille: permille}) })
}

func (r *robot) event(e artifacts.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case artifacts.SafeToLeave:
		r.tell(peer.Notice{At: "safe"})
	case artifacts.ChunkRejected:
		r.tell(peer.Notice{At: "rejected", Peer: r.others[e.From].Index, Out: e.Out})
	}
}

// Stats implements peer.System.
func (r *robot) Stats() (peer.Stats, error) {
	s, _ := r.exchange.Stats(r.image.Digest())
	r.mu.Lock()
	defer r.mu.Unlock()
	out := peer.Stats{SentBytes: s.SentBytes, ReceivedBytes: -1, From: map[int]int64{}}
	for i, n := range r.from {
		out.From[i] = n
	}
	return out, nil
}

// Close implements peer.System.
func (r *robot) Close() error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	return errors.Join(<-r.stopped, r.closeImages())
}

// Cut implements peer.Cutter: the others are neither reached nor let in.
func (r *robot) Cut(others []peer.Address) {
	r.mu.Lock()
	var keys []envelope.Key
	for _, a := range others {
		for k, b := range r.others {
			if b.Index == a.Index {
				r.lost[k] = true
				keys = append(keys, k)
			}
		}
	}
	r.mu.Unlock()
	for _, k := range keys {
		r.host.Disconnect(k)
	}
}

// Heal implements peer.Cutter.
func (r *robot) Heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.lost)
}

var errCut = errors.New("cut off")

func (r *robot) admit(k envelope.Key, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost[k] {
		return errCut
	}
	return nil
}

func (r *robot) known(k envelope.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.others[k]
	return ok
}

func (r *robot) resolve(k envelope.Key) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.others[k]; ok && !r.lost[k] {
		return []string{a.Addr}
	}
	return nil
}

// neighbours are the other members, as the exchange wants them.
type neighbours struct{ r *robot }

// Candidates lists the seed first, the others in a new random order each time.
func (n neighbours) Candidates() []envelope.Key {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	var seeds, rest []envelope.Key
	for k, a := range n.r.others {
		if a.Seed {
			seeds = append(seeds, k)
		} else {
			rest = append(rest, k)
		}
	}
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return append(seeds, rest...)
}

func (n neighbours) Open(ctx context.Context, to envelope.Key) (artifacts.Stream, error) {
	s, err := n.r.host.OpenDirect(ctx, to, artifacts.Protocol)
	if err != nil {
		return nil, err
	}
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	return &counted{s, n.r, n.r.others[to].Index}, nil
}

// counted is a stream that counts what is read from one member.
type counted struct {
	*p2p.Stream
	r    *robot
	from int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Stream.Read(b)
	c.r.mu.Lock()
	c.r.from[c.from] += int64(n)
	c.r.mu.Unlock()
	return n, err
}
