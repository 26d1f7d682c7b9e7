package fabric

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

// A Host is one machine. It offers what a node asks of a network: ListenPacket,
// Listen, Dial and Host. Its sockets belong to its present life; after a Crash they
// fail for good, and those that a new life opens are new.
type Host struct {
	net   *Net
	index int
	name  string
	ip    net.IP

	// All below is guarded by the network's lock.
	radio   Radio
	at      Point
	wired   bool // it has power: it relays, and answers for ports that nobody listens at
	running bool // its sockets can be used
	life    int  // lives that have ended

	up, down server  // its own line, or its duty
	links    []*link // to every host, by index; nil until used
	counts   map[uint16]*Count
	ports    ports
	air      transmitter

	paused time.Duration // until when nothing goes in or out; zero is not paused
	held   fifo[task]    // what came in the meantime
}

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// Index counts hosts from 0 in the order in which they were added.
func (h *Host) Index() int { return h.index }

// IP is the host's address.
func (h *Host) IP() string { return h.ip.String() }

// Host returns the address at which the machine that has addr reaches this one.
func (h *Host) Host(addr string) (string, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	to, _, err := h.resolve(addr)
	if err != nil {
		return "", fmt.Errorf("find the address that leads to %s: %w", addr, err)
	}
	if to.IsLoopback() {
		return to.String(), nil
	}
	return h.IP(), nil
}

// Position is where the host is.
func (h *Host) Position() Point {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.at
}

// Move puts the host somewhere else. A place that is none is a bug of the caller.
func (h *Host) Move(to Point) {
	if err := to.validate(); err != nil {
		panic(err)
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.at != to {
		h.at = to
		h.net.touch()
	}
}

// Crash ends the host's life as the death of its process does: its sockets fail for
// good, nothing that waited is sent, and nobody is told. The machine itself stays
// on: it refuses what is sent to it, so peers' streams are reset when their next
// segment arrives, and in a mesh it goes on relaying.
func (h *Host) Crash() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.crash()
}

// PowerOff is a Crash of the whole machine: until Start it is silent. What is sent to
// it is lost, and peers' streams are reset only when they reach its next life.
func (h *Host) PowerOff() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.wired {
		h.wired = false
		h.net.touch()
	}
	h.crash()
}

func (h *Host) crash() {
	if !h.running {
		return
	}
	h.running = false
	h.life++
	h.fail(errCrashed)
	h.air.clear()
	if h.paused != 0 {
		h.resume(h.net.now())
	}
}

// Start begins a new life: sockets may be opened again. On a running host it does nothing.
func (h *Host) Start() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.running = true
	if !h.wired {
		h.wired = true
		h.net.touch()
	}
}

// Running reports whether the host lives.
func (h *Host) Running() bool {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return h.running
}

// Pause stops everything that goes in or out for d; then it happens at once, in
// order. It is the anomaly of Lifeguard (arXiv 1707.00788, §V). A pause during a
// pause may make it longer, not shorter.
func (h *Host) Pause(d time.Duration) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if until := h.net.now() + d; d > 0 && h.running && until > h.paused {
		h.paused = until
		h.net.plan(until, (*resumption)(h))
	}
}

// resumption ends a pause.
type resumption Host

func (r *resumption) run(_ *Net, now time.Duration) {
	if h := (*Host)(r); h.paused != 0 && now >= h.paused {
		h.resume(now)
	}
}

func (h *Host) resume(now time.Duration) {
	h.paused = 0
	for h.held.len() > 0 {
		t := h.held.pop()
		t.run(h.net, now)
	}
	h.pump(now)
}

// holds keeps what arrives during a pause. It reports whether it did.
func (h *Host) holds(t task) bool {
	if h.paused == 0 {
		return false
	}
	h.held.push(t)
	return true
}

// fail ends all sockets, in a fixed order.
func (h *Host) fail(err error) {
	for _, port := range slices.Sorted(maps.Keys(h.ports.packets)) {
		h.ports.packets[port].fail(err)
	}
	for _, port := range slices.Sorted(maps.Keys(h.ports.streams)) {
		h.ports.streams[port].fail(err)
	}
	for _, c := range slices.Clone(h.ports.conns) {
		c.abandon(err)
	}
	for _, d := range slices.Clone(h.ports.dials) {
		d.settle(nil, err)
	}
}

// ports are a host's sockets.
type ports struct {
	packets map[uint16]*packetConn
	streams map[uint16]*listener
	conns   []*conn // open, or still sending after Close
	dials   []*dial
	used    map[uint16]int // by local port: how many streams began there
	next    uint16         // where the search for a free port begins
}

// Ports that the system picks, as Linux does.
const firstFree, lastFree = 32768, 60999

func newPorts() ports {
	return ports{packets: map[uint16]*packetConn{}, streams: map[uint16]*listener{}, used: map[uint16]int{}, next: firstFree}
}

// pick finds a port for which taken is false.
func (p *ports) pick(taken func(uint16) bool) (uint16, error) {
	for range lastFree - firstFree + 1 {
		port := p.next
		if p.next++; p.next > lastFree {
			p.next = firstFree
		}
		if !taken(port) {
			return port, nil
		}
	}
	return 0, errNoPort
}

// resolve reads "host:port", where the host is a name, an IP address or empty.
func (h *Host) resolve(addr string) (net.IP, uint16, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, 0, &net.AddrError{Err: "invalid port", Addr: text}
	}
	switch ip := net.ParseIP(host); {
	case host == "":
		return net.IPv4zero.To4(), uint16(port), nil
	case ip != nil && ip.To4() != nil:
		return ip.To4(), uint16(port), nil
	case ip != nil && ip.IsUnspecified():
		return net.IPv4zero.To4(), uint16(port), nil
	case ip != nil && ip.IsLoopback(), host == "localhost":
		return net.IPv4(127, 0, 0, 1).To4(), uint16(port), nil
	case h.net.named[host] != nil:
		return h.net.named[host].ip, uint16(port), nil
	}
	return nil, 0, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// hostAt finds the host that has an address as seen from h; nil is nobody.
func (h *Host) hostAt(ip net.IP) *Host {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return h
	}
	if ip = ip.To4(); ip == nil {
		return nil
	}
	return h.net.byIP[[4]byte(ip)]
}

// bind checks an address to listen at and picks a port if it has none.
func (h *Host) bind(ctx context.Context, addr string, taken func(uint16) bool) (net.IP, uint16, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if err := h.usable(); err != nil {
		return nil, 0, err
	}
	ip, port, err := h.resolve(addr)
	switch {
	case err != nil:
		return nil, 0, err
	case h.hostAt(ip) != h:
		return nil, 0, errForeign
	case port == 0:
		port, err = h.ports.pick(taken)
		return ip, port, err
	case taken(port):
		return nil, 0, errInUse
	}
	return ip, port, nil
}

// usable tells why sockets cannot be opened, if so.
func (h *Host) usable() error {
	if h.net.ended {
		return errEnded
	}
	if !h.running {
		return errDown
	}
	return nil
}
