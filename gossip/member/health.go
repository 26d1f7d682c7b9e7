package member

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// HealthFormat is the newest health report format this build reads and writes.
	HealthFormat = 1
	// MaxReason bounds the sentence in a report, in bytes.
	MaxReason = 80
	// MaxMetrics bounds the metrics in a report.
	MaxMetrics = 3
	// MaxComponents bounds the components that a Table keeps of one member. A
	// member that names more is lying; reports on the others are not kept.
	MaxComponents = 8
)

// A Phase says how far one robot has got with one component. node/update is the
// machine that moves through them; here they are words of a report.
type Phase uint8

// The phases, in the order of a good update, then those of going back.
const (
	Idle      Phase = 0 // runs what it should, or nothing was asked
	Fetching  Phase = 1
	Fetched   Phase = 2 // every chunk verified
	Staging   Phase = 3
	Staged    Phase = 4 // read back from the slot and found whole
	Armed     Phase = 5 // asked for, or holds, the word to switch
	Trial     Phase = 6 // runs the new slot, on probation
	Committed Phase = 7
	Reverting Phase = 8
	Reverted  Phase = 9 // runs the old slot again, with a reason
)

var phaseNames = [...]string{"idle", "fetching", "fetched", "staging", "staged", "armed", "trial", "committed", "reverting", "reverted"}

// String is the phase's lower-case name.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Phases counts the phases.
const Phases = len(phaseNames)

// A Result is a robot's verdict on a release it was given.
type Result uint8

// Results order by badness: the worst one said in a boot sticks.
const (
	Unknown  Result = 0
	Good     Result = 1 // committed, and healthy since
	Deferred Result = 2 // not now: busy, out of space, unsafe
	Failed   Result = 3 // did not start, failed a probe, crashed, or reverted
)

// String is "unknown", "good", "deferred" or "failed".
func (r Result) String() string {
	switch r {
	case Unknown:
		return "unknown"
	case Good:
		return "good"
	case Deferred:
		return "deferred"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("result %d", uint8(r))
}

// A Metric is one measured number: Value × 10^-Scale.
type Metric struct {
	_     struct{} `cbor:",toarray"`
	Name  string   // 1 to 12 bytes
	Value int64
	Scale uint8 // 0 to 9
}

// Health is what a robot says of one component, signed with its key. Sequence
// alone orders reports: it never decreases over reboots.
type Health struct {
	Format    uint   `cbor:"0,keyasint"`
	Robot     Index  `cbor:"1,keyasint"`
	Boot      uint64 `cbor:"2,keyasint"` // random, new at each start of the node
	Sequence  uint64 `cbor:"3,keyasint"`
	Component string `cbor:"4,keyasint"`
	// Release is what the report is about: the release on its way or on trial
	// or just reverted, else the committed one. Zero is nothing.
	Release manifest.Digest `cbor:"5,keyasint"`
	// Running is the release that the current slot holds.
	Running manifest.Digest `cbor:"6,keyasint"`
	Phase   Phase           `cbor:"7,keyasint"`
	Result  Result          `cbor:"8,keyasint"` // on Release
	// Healthy is how many seconds the committed slot has run without a failed
	// probe, on the robot's monotonic clock, over this boot.
	Healthy  uint32 `cbor:"9,keyasint"`
	Progress uint16 `cbor:"10,keyasint"` // of the fetch, per mille
	// Generation and Order name the newest order that the robot has verified.
	Generation uint32   `cbor:"11,keyasint"`
	Order      uint64   `cbor:"12,keyasint"`
	Crashes    uint16   `cbor:"13,keyasint,omitempty"` // of the payload, this boot
	Failures   uint16   `cbor:"14,keyasint,omitempty"` // of probes, this boot
	Leaving    bool     `cbor:"15,keyasint,omitempty"` // is being switched off
	Held       bool     `cbor:"16,keyasint,omitempty"` // its gate is closed
	Level      uint     `cbor:"17,keyasint"`           // newest feature level it can read
	Reason     string   `cbor:"18,keyasint,omitempty"` // for people, at most MaxReason bytes
	Metrics    []Metric `cbor:"19,keyasint,omitempty"`
}

// Check reports the first number out of range; errors wrap ErrInvalid.
func (h *Health) Check() error {
	if h.Format != HealthFormat || int(h.Phase) >= Phases || h.Result > Failed || h.Progress > 1000 ||
		len(h.Reason) > MaxReason || len(h.Metrics) > MaxMetrics || !manifest.ValidName(h.Component) {
		return fmt.Errorf("%w health report of member %d", ErrInvalid, h.Robot)
	}
	for _, m := range h.Metrics {
		if m.Name == "" || len(m.Name) > 12 || m.Scale > 9 {
			return fmt.Errorf("%w health report of member %d: metric %q", ErrInvalid, h.Robot, m.Name)
		}
	}
	return nil
}

// Seal puts h into an unsigned envelope for the swarm.
func (h *Health) Seal(swarm string) *envelope.Envelope {
	return envelope.New(envelope.Health, HealthFormat, envelope.SwarmScope(swarm), h)
}

// OpenHealth verifies and parses a report. keyOf returns the key of a member, or
// the zero key if there is none.
func OpenHealth(data []byte, swarm string, keyOf func(Index) envelope.Key) (*Health, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Health)
	if err != nil {
		return nil, nil, err
	}
	var h Health
	if err := e.Open(HealthFormat, &h); err != nil {
		return nil, nil, err
	}
	k := keyOf(h.Robot)
	if k.IsZero() {
		return nil, nil, fmt.Errorf("%w: health report of unknown member %d", envelope.ErrUnsigned, h.Robot)
	}
	if err := e.Verify(envelope.SwarmScope(swarm), envelope.Only(k)); err != nil {
		return nil, nil, err
	}
	if err := h.Check(); err != nil {
		return nil, nil, err
	}
	return &h, e, nil
}

// A Table keeps, for each member and component, the newest report and the newest
// that says failed. It is not safe for concurrent use.
type Table struct {
	newest, failed map[row]Report
	components     map[Index]int // rows in newest of each member, at most MaxComponents
}

type row struct {
	robot     Index
	component string
}

// A Report is a verified Health with the encoded envelope that proves it.
type Report struct {
	Health
	Sealed []byte
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{newest: map[row]Report{}, failed: map[row]Report{}, components: map[Index]int{}}
}

// Merge takes a verified report and says whether it was news: a sequence not
// above the last one is not, nor is a component beyond MaxComponents. It keeps
// sealed.
func (t *Table) Merge(h *Health, sealed []byte) bool {
	k := row{h.Robot, h.Component}
	old, known := t.newest[k]
	if known && h.Sequence <= old.Sequence {
		return false
	}
	if !known {
		if t.components[h.Robot] == MaxComponents {
			return false
		}
		t.components[h.Robot]++
	}
	r := Report{Health: *h, Sealed: sealed}
	t.newest[k] = r
	if h.Result == Failed {
		t.failed[k] = r
	}
	return true
}

// Newest returns the newest report of a member on a component.
func (t *Table) Newest(i Index, component string) (Report, bool) {
	r, ok := t.newest[row{i, component}]
	return r, ok
}

// Failure returns the newest report of a member on a component that said failed,
// also when later ones did not: a robot cannot talk itself well.
func (t *Table) Failure(i Index, component string) (Report, bool) {
	r, ok := t.failed[row{i, component}]
	return r, ok
}

// All returns the newest reports, ordered by member and component.
func (t *Table) All() []Report {
	out := make([]Report, 0, len(t.newest))
	for _, r := range t.newest {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Report) int {
		return cmp.Or(cmp.Compare(a.Robot, b.Robot), cmp.Compare(a.Component, b.Component))
	})
	return out
}
