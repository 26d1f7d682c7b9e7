// Package peer is what every program that takes part in a measured swarm shares:
// how the harness starts it, what it is told, and what it tells.
//
// The harness starts each member as a process of its own, with a Spec as its only
// argument. It then writes Orders to the process's standard input and reads Notices
// from its standard output, one JSON object a line:
//
//	harness                         member
//	                                {"At":"open","Addr":"127.0.0.1:4711","ID":"..."}
//	{"Do":"connect","Peers":[...]}  {"At":"ready"}
//	{"Do":"go"}                     {"At":"progress","Permille":500}
//	                                {"At":"done"}
//	{"Do":"stats"}                  {"At":"stats","Stats":{...}}
//	{"Do":"leave"}                  (exits)
//
// What it used between "go" and "stats" is what counts.
package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A Spec says what a member is and where its things are.
type Spec struct {
	Index  int    // in the swarm; 0 is the seed
	Seed   bool   // serves Source; others fetch into Dir
	Dir    string // the member's own directory, which may hold what an earlier process left
	Source string // the file to distribute; only the seed reads it
	// Meta is where things that both sides must know lie: the torrent file, or what
	// the seed writes before it says "open".
	Meta   string
	Listen string // address to listen at; its port is 0
	// UploadBytesPerSec is the system's own limit; zero is none.
	UploadBytesPerSec int64
	Options           map[string]string // of one system or case
}

// An Address is another member.
type Address struct {
	Index int
	Addr  string
	ID    string // how it is named, if the system names members
	Seed  bool
}

// An Order is what the harness wants.
type Order struct {
	Do    string    // connect, go, cut, heal, stats, leave
	Peers []Address `json:",omitempty"` // connect: all others; cut: those to lose
}

// A Notice is what a member says.
type Notice struct {
	At       string // open, ready, progress, done, safe, rejected, stats, failed
	Addr     string `json:",omitempty"`
	ID       string `json:",omitempty"`
	Permille int    `json:",omitempty"` // progress: of the file, verified
	Peer     int    `json:",omitempty"` // rejected: who sent wrong bytes
	Out      bool   `json:",omitempty"` // rejected: who is left out from now on
	Text     string `json:",omitempty"` // failed: why
	Stats    *Stats `json:",omitempty"`
}

// Stats are a member's figures since "go".
type Stats struct {
	SentBytes     int64         // of the file, on the wire, before compression; -1 is not known
	ReceivedBytes int64         // the same; -1 is not known
	CPUSeconds    float64       // user and system time of the process
	PeakRSSBytes  int64         // largest resident memory ever
	From          map[int]int64 `json:",omitempty"` // bytes read from each member, if the system counts them
}

// A System is one member of one kind of swarm. Its methods are called one after the
// other, but for Fetch, during which the others may be called.
type System interface {
	// Open starts to listen, and to serve if the member is the seed.
	Open(s Spec) (addr, id string, err error)
	// Connect says who the others are.
	Connect(others []Address) error
	// Fetch returns when the file is in Spec.Dir, whole. tell may be called at any time.
	Fetch(ctx context.Context, tell func(Notice)) error
	Stats() (Stats, error)
	Close() error
}

// A Cutter is a System that can lose the others for a while.
type Cutter interface {
	Cut(others []Address)
	Heal()
}

// Main runs a member until the harness lets it go, and returns the exit code.
func Main(s System) int {
	var spec Spec
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "this program is started by the harness: go run . in artifacts/bench")
		return 2
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &spec); err != nil {
		fmt.Fprintln(os.Stderr, "argument:", err)
		return 2
	}
	m := &member{system: s, spec: spec, out: json.NewEncoder(os.Stdout)}
	if err := m.run(os.Stdin); err != nil {
		m.tell(Notice{At: "failed", Text: err.Error()})
		return 1
	}
	return 0
}

type member struct {
	system  System
	spec    Spec
	started float64 // CPU seconds at "go"

	mu  sync.Mutex // guards out
	out *json.Encoder
}

func (m *member) tell(n Notice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(n) // without a harness there is nobody to tell
}

func (m *member) run(in io.Reader) error {
	addr, id, err := m.system.Open(m.spec)
	if err != nil {
		return errors.Join(err, m.system.Close())
	}
	m.tell(Notice{At: "open", Addr: addr, ID: id})
	if path := m.spec.Options["profile"]; path != "" {
		stop, err := profile(path)
		if err != nil {
			return errors.Join(err, m.system.Close())
		}
		defer stop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	orders := bufio.NewScanner(in)
	orders.Buffer(nil, 1<<20)
	for orders.Scan() {
		var o Order
		if err := json.Unmarshal(orders.Bytes(), &o); err != nil {
			return err
		}
		if o.Do == "leave" {
			break
		}
		if err := m.obey(ctx, o); err != nil {
			return fmt.Errorf("%s: %w", o.Do, err)
		}
	}
	cancel()
	return errors.Join(orders.Err(), m.system.Close())
}

func (m *member) obey(ctx context.Context, o Order) error {
	switch o.Do {
	case "connect":
		if err := m.system.Connect(o.Peers); err != nil {
			return err
		}
		m.tell(Notice{At: "ready"})
	case "go":
		m.started = CPUSeconds()
		go m.fetch(ctx)
	case "cut", "heal":
		c, ok := m.system.(Cutter)
		if !ok {
			return errors.New("this system cannot be cut")
		}
		if o.Do == "cut" {
			c.Cut(o.Peers)
		} else {
			c.Heal()
		}
		m.tell(Notice{At: "ready"})
	case "stats":
		s, err := m.system.Stats()
		if err != nil {
			return err
		}
		if s.CPUSeconds == 0 {
			s.CPUSeconds = CPUSeconds() - m.started
		}
		if s.PeakRSSBytes == 0 {
			s.PeakRSSBytes = PeakRSS("self")
		}
		m.tell(Notice{At: "stats", Stats: &s})
	default:
		return errors.New("unknown order")
	}
	return nil
}

// fetch runs the system's Fetch; a seed's only passes on what happens.
func (m *member) fetch(ctx context.Context) {
	err := m.system.Fetch(ctx, m.tell)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		m.tell(Notice{At: "failed", Text: err.Error()})
	default:
		m.tell(Notice{At: "done"})
	}
}
