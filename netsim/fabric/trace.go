package fabric

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"time"
)

// A Kind says what happened to a packet or a stream.
type Kind uint8

// What can happen. The names end a line of a trace.
const (
	Delivered Kind = iota // a packet reached its socket
	Lost                  // a packet was lost on the way
	NoRoute               // there was no way for a packet
	Blocked               // a partition was in a packet's way
	TooLarge              // a packet was larger than the MTU
	QueueFull             // a packet found a full queue
	HostOff               // a packet came to a host, or to a relay, without power
	NoSocket              // nobody listened at a packet's port
	Opened                // a stream was accepted
	Refused               // a stream was refused: nobody listened, or too many waited
	Segment               // a piece of a stream arrived
	Retried               // a piece of a stream, or the request for one, went nowhere and waits to be sent again
	Ended                 // a direction of a stream came to its end
	Reset                 // a reset arrived: the receiver of the stream was gone
	TimedOut              // a stream or the request for one was given up
	kinds
)

var kindNames = [kinds]string{
	"delivered", "lost", "no route", "blocked", "too large", "queue full", "host off", "no socket",
	"opened", "refused", "segment", "retried", "ended", "reset", "timed out",
}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// An Event is one line of the network's journal.
type Event struct {
	At               time.Duration // since the network was made
	Kind             Kind
	From, To         int // index of the hosts; To is -1 for an address that nobody has
	FromPort, ToPort uint16
	Len              int    // bytes of payload
	Sum              uint32 // CRC-32C of the payload
}

func (e Event) String() string {
	return fmt.Sprintf("%v %d:%d > %d:%d %d bytes %08x %v", e.At, e.From, e.FromPort, e.To, e.ToPort, e.Len, e.Sum, e.Kind)
}

// A journal hashes all events.
type journal struct {
	hash  hash.Hash
	trace func(Event)
	line  [34]byte
}

func newJournal(trace func(Event)) journal { return journal{hash: sha256.New(), trace: trace} }

func (j *journal) add(e Event) {
	b := j.line[:0]
	b = binary.LittleEndian.AppendUint64(b, uint64(e.At))
	b = append(b, byte(e.Kind))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.From))
	b = binary.LittleEndian.AppendUint32(b, uint32(e.To))
	b = binary.LittleEndian.AppendUint16(b, e.FromPort)
	b = binary.LittleEndian.AppendUint16(b, e.ToPort)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Len))
	b = binary.LittleEndian.AppendUint32(b, e.Sum)
	_, _ = j.hash.Write(b) // never fails
	if j.trace != nil {
		j.trace(e)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Digest is a SHA-256 over everything that has happened so far, in order: time,
// hosts, ports, length and checksum of every packet delivered or dropped and of
// every piece of a stream.
func (n *Net) Digest() [32]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return [32]byte(n.journal.hash.Sum(nil))
}

// A Count is what one host has sent and received. Bytes are those of IP packets with
// their headers, but for what a radio adds. What was sent counts though it was lost.
type Count struct {
	SentPackets, SentBytes         uint64
	ReceivedPackets, ReceivedBytes uint64
}

// HostTraffic is what one host has sent and received, by the port that the receiver
// of a packet, or whoever accepted a stream, listens at. Both directions of a stream
// count under that port.
type HostTraffic struct {
	Name  string
	Ports map[uint16]Count
}

// CellTraffic is the airtime of one cell.
type CellTraffic struct {
	Radio string        // its kind
	X, Y  int           // the square, counted in sides of a cell
	Sent  time.Duration // airtime of what hosts in this square sent
	Busy  time.Duration // the time in which it was busy, by its neighbours' transmissions too
}

// Traffic is all that the network has carried.
type Traffic struct {
	Hosts  []HostTraffic   // by index
	Cells  []CellTraffic   // in which somebody sent, in the order in which they came to be
	Events map[Kind]uint64 // how often each happened
}

// Traffic counts what the network has carried so far.
func (n *Net) Traffic() Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := Traffic{Events: map[Kind]uint64{}}
	for _, h := range n.hosts {
		ports := make(map[uint16]Count, len(h.counts))
		for port, c := range h.counts {
			ports[port] = *c
		}
		t.Hosts = append(t.Hosts, HostTraffic{h.name, ports})
	}
	for _, c := range n.ordered {
		if c.sent > 0 {
			t.Cells = append(t.Cells, CellTraffic{c.place.radio, c.place.x, c.place.y, c.sent, c.used})
		}
	}
	for k, c := range n.happened {
		if c > 0 {
			t.Events[Kind(k)] = c
		}
	}
	return t
}

// Happened counts all events so far: a measure of the work that they made.
func (n *Net) Happened() (all uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.happened {
		all += c
	}
	return all
}

// count returns the books of h for a port.
func (h *Host) count(port uint16) *Count {
	c := h.counts[port]
	if c == nil {
		c = &Count{}
		h.counts[port] = c
	}
	return c
}

func (c *Count) sent(packets, bytes int) {
	c.SentPackets += uint64(packets)
	c.SentBytes += uint64(bytes)
}

func (c *Count) received(packets, bytes int) {
	c.ReceivedPackets += uint64(packets)
	c.ReceivedBytes += uint64(bytes)
}
