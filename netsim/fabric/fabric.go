// Package fabric is a network in memory for whole, unmodified nodes: packets and
// streams between machines with radios, in virtual time.
//
// A Net holds Hosts. A Host is one machine: it opens packet sockets and stream
// sockets exactly as the operating system does, with real addresses, deadlines,
// half-closed streams, windows, resets, and errors such as "connection refused".
// What lies between two hosts follows from their Radios, their places, the routing
// and the Faults laid over it: latency, jitter, rate, queues, loss, shared airtime.
//
//	n, err := fabric.New(fabric.Config{Seed: 7, Routing: fabric.Mesh})
//	go n.Run(ctx)
//	a, err := n.AddHost("rover-1", fabric.WiFiMesh, fabric.Point{})
//	b, err := n.AddHost("rover-2", fabric.WiFiMesh, fabric.Point{X: 80})
//	lift, err := n.Apply(fabric.Loss{Share: 0.2})
//
// Guarantees. One goroutine, Run, moves everything, from one heap of events ordered
// by time and then by the order in which they were made. Every random draw is a
// hash of (seed, directed link, n-th packet on it, purpose), so a fault or a packet
// more on one link changes no draw elsewhere. Digest is a hash over everything that
// was delivered or dropped: two runs with equal digests were equal.
//
// The network is built on channels and timers, so that it works in a testing/synctest
// bubble; New, and everything after it, must then be called inside that bubble. It
// works in real time too.
package fabric

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"time"
)

// Routing says how a packet finds a host.
type Routing int

// The routings. A host without a range (lan, lte, satellite) is reached directly by
// every other such host under None and Mesh.
const (
	None Routing = iota // neighbours only
	Mesh                // the shortest path over hosts within range of each other
	Star                // everything goes through one host, the hub
)

func (r Routing) String() string {
	switch r {
	case None:
		return "none"
	case Mesh:
		return "mesh"
	case Star:
		return "star"
	}
	return fmt.Sprintf("Routing(%d)", int(r))
}

// A Config describes a network.
type Config struct {
	// Seed decides every random draw.
	Seed uint64
	// Routing is how packets find their way; zero is None.
	Routing Routing
	// Hub is the name of the host in the middle of a Star; it must be set then, and
	// only then. The host may be added later: until it is, nothing gets through.
	Hub string
	// CellMetres is the side of the squares by which hosts with a range share their
	// airtime; see cell. Zero is the range of the radio.
	CellMetres float64
	// RouteLag is how long a mesh goes on with its old routes when positions or hosts
	// have changed, as a routing protocol needs time to notice. Zero is DefaultRouteLag.
	RouteLag time.Duration
	// Window bounds the bytes of one direction of a stream that are under way or not
	// read yet; as many again may wait to be sent. Zero is DefaultWindow.
	Window int
	// Trace, if set, is called with everything that the digest covers, in order. It
	// runs under the network's lock: it must return soon and call nothing of this package.
	Trace func(Event)
}

// Defaults of a Config.
const (
	DefaultRouteLag = time.Second // B.A.T.M.A.N. announces itself once a second
	DefaultWindow   = 256 << 10   // fills 1 Gbit/s at 2 ms, 10 Mbit/s at 200 ms
)

// Validate reports all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf("fabric: "+format, args...)) }
	if c.Routing < None || c.Routing > Star {
		complain("the routing is none, mesh or star, not %v", c.Routing)
	}
	if (c.Routing == Star) != (c.Hub != "") {
		complain("a star needs the name of its hub, and nothing else does")
	}
	if !(c.CellMetres >= 0) || math.IsInf(c.CellMetres, 0) {
		complain("cells of %v m are no cells", c.CellMetres)
	}
	if c.RouteLag < 0 {
		complain("routes cannot lag by %v", c.RouteLag)
	}
	if c.Window != 0 && c.Window < maxSegment {
		complain("a window holds %d bytes or more, not %d", maxSegment, c.Window)
	}
	return errors.Join(errs...)
}

// A Net is a network. It may be used by any number of goroutines.
type Net struct {
	cfg   Config
	start time.Time
	wake  chan struct{} // one deep: an event became due before the one that Run waits for

	mu       sync.Mutex // guards all that follows, and the fields of hosts and sockets
	events   events
	next     time.Duration // when Run wakes up by itself; lowest while it works
	ended    bool          // Run has ended: nothing moves any more
	hosts    []*Host       // by index
	named    map[string]*Host
	byIP     map[[4]byte]*Host
	cells    map[place]*cell
	ordered  []*cell // in the order they came to be
	faults   []*applied
	version  uint64        // counts changes of anything that a path depends on
	graph    *graph        // a mesh's routes, perhaps old; nil until needed
	changed  time.Duration // when the graph grew old, if it has
	truth    *graph        // routes as they should be, perhaps of an older version; nil until needed
	journal  journal
	buffers  buffers
	happened [kinds]uint64
}

// New makes a network without hosts. It starts no goroutine.
func New(cfg Config) (*Net, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.RouteLag = cmp.Or(cfg.RouteLag, DefaultRouteLag)
	cfg.Window = cmp.Or(cfg.Window, DefaultWindow)
	return &Net{
		cfg: cfg, start: time.Now(), wake: make(chan struct{}, 1), next: never,
		named: map[string]*Host{}, byIP: map[[4]byte]*Host{}, cells: map[place]*cell{},
		journal: newJournal(cfg.Trace),
	}, nil
}

// maxHosts is as many as 10.0.a.b has room for.
const maxHosts = 256 * 254

// AddHost plugs a machine in, running, at a place. Its name is its own in the
// network; its address is 10.0.a.b, counted up.
func (n *Net) AddHost(name string, r Radio, at Point) (*Host, error) {
	if err := errors.Join(r.validate(), at.validate()); err != nil {
		return nil, fmt.Errorf("add host %q: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case name == "" || n.named[name] != nil:
		return nil, fmt.Errorf("fabric: a host needs a name of its own, not %q", name)
	case len(n.hosts) == maxHosts:
		return nil, fmt.Errorf("fabric: no address left for %q", name)
	}
	i := len(n.hosts)
	ip := [4]byte{10, 0, byte(i / 254), byte(i%254 + 1)}
	h := &Host{
		net: n, index: i, name: name, ip: net.IPv4(ip[0], ip[1], ip[2], ip[3]).To4(),
		radio: r, at: at, running: true, wired: true, ports: newPorts(), counts: map[uint16]*Count{},
	}
	n.hosts = append(n.hosts, h)
	n.named[name], n.byIP[ip] = h, h
	n.touch()
	return h, nil
}

// Hosts lists all hosts by index.
func (n *Net) Hosts() []*Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.hosts)
}

// touch notes that paths are not as they were.
func (n *Net) touch() {
	if n.graph != nil && n.graph.version == n.version {
		n.changed = n.now()
	}
	n.version++
}

// now is the time since the network was made.
func (n *Net) now() time.Duration { return time.Since(n.start) }
