package gossip

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/starling-swarm/starling/gossip/member"
)

// A delegate is what memberlist calls, mostly under its lock. Every method
// copies what it needs into the table, the board or a bounded channel and
// returns; none calls memberlist.
type delegate struct{ m *Membership }

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate     = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
)

// indexOf parses the one spelling of an index.
func indexOf(name string) (member.Index, error) {
	n, err := strconv.ParseUint(name, 10, 16)
	if err != nil || n >= member.MaxMembers || strconv.FormatUint(n, 10) != name {
		return 0, fmt.Errorf("%.20q is not an index", name)
	}
	return member.Index(n), nil
}

// NotifyAlive keeps out who does not belong. It is the only place that can: an
// error of NotifyMerge would refuse everybody who comes in the same exchange.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	i, err := d.check(n)
	if err != nil {
		d.m.count.strangersRefused.Add(1)
		return err
	}
	// The member answers for itself, or somebody heard it lately.
	if d.m.table.cleared(i, time.Now()) {
		d.m.changed(i, Alive)
	}
	return nil
}

func (d *delegate) check(n *memberlist.Node) (member.Index, error) {
	i, err := indexOf(n.Name)
	if err != nil {
		return 0, err
	}
	addr, ok := netip.AddrFromSlice(n.Addr)
	if !ok || addr.IsUnspecified() || addr.IsMulticast() || n.Port == 0 {
		return 0, fmt.Errorf("%v port %d is no address", n.Addr, n.Port)
	}
	if _, err := DecodeMeta(n.Meta); err != nil {
		return 0, err
	}
	// One member with versions that others cannot speak would make memberlist
	// refuse every state exchange with a node that knows it.
	if v := memberlist.ProtocolVersion2Compatible; int(n.PMin) > v || int(n.PMax) < v || int(n.PCur) != v || n.DMin != 0 || n.DCur != 0 {
		return 0, fmt.Errorf("protocol versions %d to %d, %d", n.PMin, n.PMax, n.PCur)
	}
	if i != d.m.cfg.Self && d.m.cfg.Admit != nil && !d.m.cfg.Admit(i, addr.Unmap().String()) {
		return 0, fmt.Errorf("not in the roster")
	}
	return i, nil
}

// NotifyJoin is called when a member becomes alive.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	i, err := indexOf(n.Name)
	if err != nil {
		return // NotifyAlive let it through, so it has an index
	}
	meta, _ := DecodeMeta(n.Meta) // readable: NotifyAlive looked
	d.m.table.joined(Member{Index: i, Host: hostOf(n), Port: n.Port, Meta: meta}, time.Now())
	d.m.changed(i, Alive)
}

func hostOf(n *memberlist.Node) string {
	addr, _ := netip.AddrFromSlice(n.Addr) // good: NotifyAlive looked
	return addr.Unmap().String()
}

// NotifyUpdate is called when an alive member changes its metadata.
func (d *delegate) NotifyUpdate(n *memberlist.Node) {
	i, err := indexOf(n.Name)
	if err != nil {
		return
	}
	meta, _ := DecodeMeta(n.Meta)
	d.m.table.joined(Member{Index: i, Host: hostOf(n), Port: n.Port, Meta: meta}, time.Now())
	nudge(d.m.changes)
}

// NotifyLeave is called when a member is dead or has left.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	i, err := indexOf(n.Name)
	if err != nil {
		return
	}
	if state, known := d.m.table.gone(i, time.Now()); known {
		d.m.changed(i, state)
	}
}

// NotifyConflict is called when two addresses claim one name.
func (d *delegate) NotifyConflict(known, other *memberlist.Node) {
	i, err := indexOf(known.Name)
	if err != nil {
		return
	}
	c := Conflict{Index: i, HostA: hostPort(hostOf(known), known.Port), HostB: hostPort(hostOf(other), other.Port)}
	offer(d.m, d.m.clashes, c)
}

// NotifyMsg is called with a broadcast or a message to this node alone.
func (d *delegate) NotifyMsg(b []byte) {
	var err error
	switch {
	case len(b) == 0:
		err = errMessage
	case b[0] == kindPointer:
		d.said(b, kindPointer)
	case b[0] == kindAsk:
		var a ask
		if a, err = decodeAsk(b); err == nil {
			offer(d.m, d.m.asks, a)
		}
	case b[0] == kindAnswer:
		var a answer
		if a, err = decodeAnswer(b); err == nil {
			offer(d.m, d.m.answers, a)
		}
	default:
		err = errMessage
	}
	if err != nil {
		d.m.count.badMessages.Add(1)
	}
}

// said takes a pointer, and goodbyes, that another member stated.
func (d *delegate) said(b []byte, kind byte) {
	s, err := decodeStatement(b, kind)
	if err != nil {
		d.m.count.badMessages.Add(1)
		return
	}
	now := time.Now()
	if len(s.left) > 0 && d.m.table.goodbyes(s.left, now) {
		nudge(d.m.changes)
	}
	if _, known := d.m.table.lookup(s.heard.From); !known || s.heard.From == d.m.cfg.Self {
		return // a stranger's word, or our own come back
	}
	if d.m.board.hear(s.heard, now) {
		nudge(d.m.boardNews)
	}
}

func (d *delegate) statement() *statement {
	return &statement{heard: Heard{Pointer: d.m.board.announced(), From: d.m.cfg.Self}}
}

// AckPayload rides in the answer to every probe: what a broadcast missed is
// repaired here.
func (d *delegate) AckPayload() []byte {
	s := d.statement()
	if s.heard.IsZero() {
		return nil
	}
	return s.encode(kindPointer)
}

// NotifyPingComplete is called when a probe was answered.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, payload []byte) {
	if i, err := indexOf(n.Name); err == nil {
		d.m.trips.note(i, rtt)
		if d.m.table.cleared(i, time.Now()) {
			d.m.changed(i, Alive)
		}
	}
	if len(payload) > 0 {
		d.said(payload, kindPointer)
	}
}

// LocalState rides in every full state exchange.
func (d *delegate) LocalState(bool) []byte {
	s := d.statement()
	s.left = d.m.table.saidGoodbye()
	return s.encode(kindState)
}

// MergeRemoteState takes the other side's LocalState.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.said(b, kindState) }

// NodeMeta is what this node says of itself.
func (d *delegate) NodeMeta(int) []byte { return d.m.meta.Load().Encode() }

// GetBroadcasts gives what fits beside memberlist's own messages.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.m.queue.GetBroadcasts(overhead, limit)
}

// A broadcast is the one body that this node has to spread.
type broadcast []byte

var _ memberlist.NamedBroadcast = broadcast(nil)

// Name is the same for all: a later pointer takes the place of an earlier one.
func (broadcast) Name() string { return "pointer" }

// Invalidates is not asked of named broadcasts.
func (broadcast) Invalidates(memberlist.Broadcast) bool { return false }

// Message is the body.
func (b broadcast) Message() []byte { return b }

// Finished is called when b was sent often enough, or replaced.
func (broadcast) Finished() {}

// An event is a line of log about a member.
type event struct {
	index member.Index
	state State
}

// changed tells the caller, and the log, of a member's new state.
func (m *Membership) changed(i member.Index, s State) {
	nudge(m.changes)
	offer(m, m.events, event{i, s})
}

// suspect is called by the bridge.
func (m *Membership) suspect(name string) {
	if i, err := indexOf(name); err == nil && m.table.suspected(i, time.Now()) {
		m.changed(i, Suspect)
	}
}

// offer puts v into a bounded channel, or counts it as lost.
func offer[T any](m *Membership, c chan T, v T) {
	select {
	case c <- v:
	default:
		m.count.eventsDropped.Add(1)
	}
}
