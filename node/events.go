package node

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/update"
)

// maxRecent bounds the events kept in memory for those who watch.
const maxRecent = 1024

// An Event is something that happened on this node, for people and for the audit.
// Numbers rise by one, so that whoever watches sees a gap.
type Event struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // "phase", "order", "leader", "joined", …
	Member string    `json:"member,omitempty"`
	Text   string    `json:"text"`
	// Component, Release and Phase are set for kind phase; Rollout, Status and Stage
	// for kind order when it is about a rollout.
	Component string `json:"component,omitempty"`
	Release   string `json:"release,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Phase     string `json:"phase,omitempty"`
	Rollout   uint64 `json:"rollout,omitempty"`
	Status    string `json:"status,omitempty"`
	Stage     string `json:"stage,omitempty"`
	Reason    string `json:"reason,omitempty"` // why the rollout has this status
}

// events is the history of this node: the newest in memory, all in a file that is
// only appended to.
type events struct {
	file *os.File

	mu     sync.Mutex // guards what is below, and the order of lines in file
	recent []Event    // oldest first, at most maxRecent
	next   uint64
}

func openEvents(path string) (*events, error) {
	e := &events{next: 1}
	if err := e.load(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	e.file = f
	return e, nil
}

// load reads the newest events back; a torn last line is left out.
func (e *events) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 1<<20 {
		if _, err := f.Seek(-1<<20, io.SeekEnd); err != nil {
			return fmt.Errorf("read the history: %w", err)
		}
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var ev Event
		if json.Unmarshal(lines.Bytes(), &ev) == nil && ev.Number >= e.next {
			e.keep(ev)
		}
	}
	return lines.Err()
}

func (e *events) keep(ev Event) {
	e.next = ev.Number + 1
	e.recent = append(e.recent, ev)
	if len(e.recent) > maxRecent {
		e.recent = append([]Event(nil), e.recent[len(e.recent)-maxRecent:]...)
	}
}

// add numbers and keeps an event, also when it cannot be written down.
func (e *events) add(ev Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.Number, ev.Time = e.next, time.Now().UTC()
	e.keep(ev)
	line, err := json.Marshal(ev)
	if err == nil {
		_, err = e.file.Write(append(line, '\n'))
	}
	return err
}

// since returns the events with a higher number.
func (e *events) since(n uint64) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, ev := range e.recent {
		if ev.Number > n {
			return append([]Event(nil), e.recent[i:]...)
		}
	}
	return nil
}

// last is the number of the newest event.
func (e *events) last() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next - 1
}

func (e *events) close() error { return e.file.Close() }

// note records an event and wakes those who watch.
func (n *Node) note(ev Event) {
	if err := n.events.add(ev); err != nil {
		n.log.Warn("history not written", "err", err)
	}
	n.changed()
}

// Events returns what happened here after the event with that number; 0 is as far
// back as memory goes.
func (n *Node) Events(since uint64) []Event { return n.events.since(since) }

// noteExit records that a payload ended by itself, with more than a report has room for.
func (n *Node) noteExit(component string, x install.Exit) {
	text := component + " ended: " + x.Words()
	if x.Log != "" {
		text += "; its log is " + x.Log
	}
	n.note(Event{Kind: "payload-ended", Member: string(n.member.ID), Component: component, Text: text})
}

// noteStatus records a change of phase.
func (n *Node) noteStatus(component string, s update.Status) {
	ev := Event{
		Kind: "phase", Member: string(n.member.ID), Component: component, Release: s.Release.Version, Digest: s.Release.Digest.String(),
		Phase: s.Phase.String(), Rollout: s.Rollout, Text: s.String(),
	}
	if last := n.lastPhase.Swap(&ev); last != nil && last.Phase == ev.Phase && last.Release == ev.Release && last.Component == ev.Component {
		return // progress only
	}
	n.note(ev)
}
