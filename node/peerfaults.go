package node

import (
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts"
	"github.com/starling-swarm/starling/artifacts/envelope"
)

const (
	// faultPace is how often the same fault of the same peer is an event: a flood is
	// counted, and must not fill the history.
	faultPace = time.Minute
	// maxFaults bounds the peers and kinds that are counted; above it the oldest goes.
	maxFaults = 256
)

// A PeerFaults counts what one peer did wrong since the node was started.
type PeerFaults struct {
	// Member is its name, or the address of a stranger.
	Member string    `json:"member"`
	Kind   string    `json:"kind"` // "wrong-bytes", "protocol", "false-have", "stalled", "flood"
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
	Text   string    `json:"text"` // of the last
	// Out says that this node leaves it out, for some minutes after Last.
	Out bool `json:"out"`

	noted time.Time
}

// faults counts them. It is safe for concurrent use.
type faults struct {
	mu  sync.Mutex   // guards all
	all []PeerFaults // in the order in which they were first seen; <= maxFaults
}

// add counts a fault, and reports whether it is worth an event.
func (f *faults) add(p PeerFaults) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.all, func(o PeerFaults) bool { return o.Member == p.Member && o.Kind == p.Kind })
	if i < 0 {
		if len(f.all) == maxFaults {
			f.all = slices.Delete(f.all, 0, 1)
		}
		p.Count, p.noted = 1, p.Last
		f.all = append(f.all, p)
		return true
	}
	o := &f.all[i]
	fresh := p.Last.Sub(o.noted) >= faultPace || (p.Out && !o.Out)
	p.Count, p.noted = o.Count+1, o.noted
	if fresh {
		p.noted = p.Last
	}
	*o = p
	return fresh
}

func (f *faults) list() []PeerFaults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]PeerFaults{}, f.all...)
}

// blame counts and tells what a peer did wrong.
func (n *Node) blame(who, kind, text string, out bool) {
	if !n.faults.add(PeerFaults{Member: who, Kind: kind, Last: time.Now().UTC(), Text: text, Out: out}) {
		return
	}
	if out {
		text += "; it is left out here for a while"
	}
	event := "peer-fault"
	if kind == artifacts.Stalled.String() || kind == artifacts.Flooded.String() {
		event = "peer-" + kind // a robot that drives away stalls too: nothing to look into
	}
	n.note(Event{Kind: event, Member: who, Text: who + ": " + text})
}

// blameDocument tells that a member answered with something that is not the document.
func (n *Node) blameDocument(to envelope.Key, text string) {
	n.blame(n.peerName(to), "wrong-bytes", text, false)
}

// peerName is a member's name, or the beginning of a stranger's key.
func (n *Node) peerName(k envelope.Key) string {
	if n.taking() {
		if m := n.keeper.View().Member(k); m != nil {
			return string(m.ID)
		}
	}
	return k.Short()
}

// turnedAway takes a limit of the hosts that was reached.
func (n *Node) turnedAway(k envelope.Key, addr, why string) {
	who := addr
	if !k.IsZero() {
		who = n.peerName(k)
	}
	n.blame(who, artifacts.Flooded.String(), why, false)
}
