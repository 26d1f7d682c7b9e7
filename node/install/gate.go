package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

var (
	// ErrGateMode is returned for a lease that the gate's mode does not know: a
	// permit of a gate in mode hold, or the other way round. Look at State.
	ErrGateMode = errors.New("install: the gate has another mode")
	// ErrLease is returned for a lease without an owner's name or with an impossible
	// duration.
	ErrLease = errors.New("install: impossible lease")
)

const (
	// MaxLease bounds a lease: an application that is gone must not hold a robot
	// for ever.
	MaxLease = 24 * time.Hour
	// MaxLeases bounds the owners that hold a lease at once.
	MaxLeases = 16
	// maxLeaseFile bounds the file of hold leases, in bytes.
	maxLeaseFile = 16 << 10
)

// A GateMode says what the absence of a lease means.
type GateMode string

// The modes.
const (
	GateNone   GateMode = ""       // always open
	GatePermit GateMode = "permit" // closed, unless the application has granted a lease
	GateHold   GateMode = "hold"   // open, unless the application holds it
)

// A Lease is an application's word, until it expires.
type Lease struct {
	Owner  string
	Reason string
	Left   time.Duration // until it expires
}

// GateState is how the gate stands.
type GateState struct {
	Mode   GateMode
	Open   bool
	Reason string  // why it is closed
	Leases []Lease // that count, in the order of Grant and Hold
	// Next is when the answer changes though nothing happens; zero is never.
	Next time.Time
}

// Event is what the machine wants to hear of s.
func (s GateState) Event() update.Event {
	if s.Open {
		return update.GateOpen{}
	}
	return update.GateClosed{Hold: s.Mode == GateHold, Reason: s.Reason}
}

// lease is one entry; until is on the monotonic clock.
type lease struct {
	owner, reason string
	until         time.Time
}

// Gate is the interlock with the application. It may be used by several goroutines.
// A permit never survives a restart of this process; a hold does, for the time it
// had left when it was last renewed: nobody knows how long the robot was off.
type Gate struct {
	mode GateMode
	path string // of the hold leases

	mu     sync.Mutex
	leases []lease // guarded by mu; one per owner

	writing chan struct{} // holds a value while somebody writes the file

	changed chan struct{} // sent by every change, one deep; a full one merges
}

// NewGate makes a gate. path is the file in which mode hold keeps its leases; other
// modes need none. A file that makes no sense closes the gate for five minutes.
func NewGate(mode GateMode, path string) (*Gate, error) {
	g := &Gate{mode: mode, path: path, changed: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
	switch mode {
	case GateNone, GatePermit:
		return g, nil
	case GateHold:
		if path == "" {
			return nil, errors.New("install: a gate in mode hold needs a file for its leases")
		}
		return g, g.load()
	}
	return nil, fmt.Errorf(`install: gate mode %q: want "permit", "hold" or none`, mode)
}

// Changed has a value after every change of the leases, but not when one expires:
// see GateState.Next.
func (g *Gate) Changed() <-chan struct{} { return g.changed }

// Grant opens a gate in mode permit for ttl, or renews that.
func (g *Gate) Grant(owner string, ttl time.Duration) error {
	if g.mode != GatePermit {
		return fmt.Errorf("%w: grant needs mode permit, this gate has %q", ErrGateMode, g.mode)
	}
	return g.put(owner, ttl, "")
}

// Hold closes a gate in mode hold for ttl, or renews that. It returns once the lease
// would survive a restart.
func (g *Gate) Hold(owner string, ttl time.Duration, reason string) error {
	if g.mode != GateHold {
		return fmt.Errorf("%w: hold needs mode hold, this gate has %q", ErrGateMode, g.mode)
	}
	if err := g.put(owner, ttl, reason); err != nil {
		return err
	}
	return g.store()
}

// Release gives up the owner's lease, if it has one.
func (g *Gate) Release(owner string) error {
	g.mu.Lock()
	kept := g.leases[:0:0]
	for _, l := range g.leases {
		if l.owner != owner {
			kept = append(kept, l)
		}
	}
	g.leases = kept
	g.mu.Unlock()
	g.notify()
	if g.mode == GateHold {
		return g.store()
	}
	return nil
}

func (g *Gate) put(owner string, ttl time.Duration, reason string) error {
	if !manifest.ValidName(owner) || ttl <= 0 || ttl > MaxLease || len(reason) > 200 {
		return fmt.Errorf("%w: owner %q for %v: want a name and up to %v", ErrLease, owner, ttl, MaxLease)
	}
	if !g.add(lease{owner, reason, time.Now().Add(ttl)}) {
		return fmt.Errorf("%w: %d owners hold one already", ErrLease, MaxLeases)
	}
	g.notify()
	return nil
}

// add puts l in, or in the place of its owner's last one, unless there are too many.
func (g *Gate) add(l lease) bool {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	kept := g.leases[:0:0]
	for _, old := range g.leases {
		if old.owner != l.owner && old.until.After(now) {
			kept = append(kept, old)
		}
	}
	if len(kept) >= MaxLeases {
		return false
	}
	g.leases = append(kept, l)
	return true
}

func (g *Gate) notify() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// State is how the gate stands now.
func (g *Gate) State() GateState {
	s := GateState{Mode: g.mode, Open: g.mode != GatePermit}
	now := time.Now()
	g.mu.Lock()
	leases := g.leases
	g.mu.Unlock()
	for _, l := range leases {
		if !l.until.After(now) {
			continue
		}
		s.Leases = append(s.Leases, Lease{Owner: l.owner, Reason: l.reason, Left: l.until.Sub(now)})
		if l.until.After(s.Next) {
			s.Next = l.until // the last one decides
		}
		if g.mode == GateHold {
			s.Open, s.Reason = false, "held by "+l.owner
			if l.reason != "" {
				s.Reason += ": " + l.reason
			}
		}
	}
	if g.mode == GatePermit {
		s.Open = len(s.Leases) > 0
		if !s.Open {
			s.Reason = "no permit"
		}
	}
	return s
}

// leaseFile is the JSON form of the hold leases.
type leaseFile struct {
	Format int         `json:"format"`
	Leases []leaseLine `json:"leases"`
}

type leaseLine struct {
	Owner   string `json:"owner"`
	Reason  string `json:"reason,omitempty"`
	Seconds int64  `json:"seconds"` // that were left when it was written, rounded up
}

// store writes what State says; a later store has what an earlier one had.
func (g *Gate) store() error {
	g.writing <- struct{}{}
	defer func() { <-g.writing }()
	f := leaseFile{Format: 1, Leases: []leaseLine{}}
	for _, l := range g.State().Leases {
		f.Leases = append(f.Leases, leaseLine{l.Owner, l.Reason, int64((l.Left + time.Second - 1) / time.Second)})
	}
	data, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("gate leases: %w", err)
	}
	if err := writeDurable(g.path, data); err != nil {
		return fmt.Errorf("gate leases: %w", err)
	}
	return nil
}

// lostHold is how long a gate whose leases cannot be read stays closed: somebody
// may have held it, and renews if it still does.
const lostHold = 5 * time.Minute

func (g *Gate) load() error {
	in, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("gate leases: %w", err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxLeaseFile+1))
	if err != nil {
		return fmt.Errorf("gate leases: %w", err)
	}
	now := time.Now()
	f, ok := parseLeases(data)
	if !ok {
		g.leases = []lease{{"unknown", "the file of leases cannot be read", now.Add(lostHold)}}
		return nil
	}
	for _, l := range f.Leases {
		g.leases = append(g.leases, lease{l.Owner, l.Reason, now.Add(time.Duration(l.Seconds) * time.Second)})
	}
	return nil
}

// parseLeases reads the file of leases, and reports whether it is one.
func parseLeases(data []byte) (leaseFile, bool) {
	var f leaseFile
	if len(data) > maxLeaseFile || json.Unmarshal(data, &f) != nil || f.Format != 1 || len(f.Leases) > MaxLeases {
		return leaseFile{}, false
	}
	for _, l := range f.Leases {
		if !manifest.ValidName(l.Owner) || l.Seconds < 0 || l.Seconds > int64(MaxLease/time.Second) || len(l.Reason) > 200 {
			return leaseFile{}, false
		}
	}
	return f, true
}
