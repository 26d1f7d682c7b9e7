package update

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// RecordFormat is the newest record format this build reads and writes.
	RecordFormat = 1
	// MaxRecordBytes bounds an encoded record.
	MaxRecordBytes = 32 << 10
	// MaxAttempts is how often control may be given to a release before it commits.
	MaxAttempts = 3
	// MaxTransitions bounds the steps of one update that throw work away: a fetch
	// from the start, a hand-over, a restart on trial. Mender's number; it ends
	// loops that nothing else ends.
	MaxTransitions = 28
	// MaxFailed bounds the failures a record remembers; the oldest falls out.
	MaxFailed = 8

	checksumBytes = 8
)

var (
	// ErrDamaged is wrapped by every refusal of bytes that are not a record. Try
	// the previous copy; without one, run what the link points to.
	ErrDamaged = errors.New("update: damaged record")
	// ErrInvalid is wrapped by every complaint about a record's contents.
	ErrInvalid = errors.New("update: invalid record")
)

// A Failure is a release that this robot went back from, and the rollout that had
// brought it. The robot does not take it again until a later rollout asks.
type Failure struct {
	_       struct{} `cbor:",toarray"`
	Release manifest.Digest
	Rollout uint64
}

// A Record is all that must survive a loss of power: a small file outside both
// slots, one per component. Only an Updater writes its fields.
type Record struct {
	Format    uint   `cbor:"0,keyasint"`
	Component string `cbor:"1,keyasint"`
	// Phase is the last one that was worth a write. Fetched and staging are not:
	// after a restart both begin again at fetching, from what is on disk.
	Phase Phase `cbor:"2,keyasint"`
	// Current is the slot that the link points to, as far as this record knows;
	// the link itself decides (see Restarted).
	Current Slot          `cbor:"3,keyasint"`
	Slots   [2]SlotRecord `cbor:"4,keyasint"`
	// Committed is the slot that is always allowed to run. It is whole whenever
	// HasCommitted is set; before the first commit nothing may run but a trial.
	Committed    Slot `cbor:"5,keyasint"`
	HasCommitted bool `cbor:"6,keyasint"`
	// Into is the slot that Target goes into or was tried from; it is never
	// Committed while a trial lasts.
	Into Slot `cbor:"7,keyasint"`
	// Target is the release on its way or on trial, or the last that was.
	Target  manifest.Ref `cbor:"8,keyasint"`
	Kind    Kind         `cbor:"9,keyasint"`  // why Target is wanted
	Rollout uint64       `cbor:"10,keyasint"` // and by which rollout
	// Attempts is how often control may still be given to Target. It is lowered
	// and written before each time; only a commit clears it.
	Attempts    uint8  `cbor:"11,keyasint"`
	Transitions uint16 `cbor:"12,keyasint"` // at most MaxTransitions
	// TrialLeft is how many seconds of trial are left, rounded down at each save
	// and lowered by one save interval at each restart: never too many.
	TrialLeft uint32 `cbor:"13,keyasint"`
	// MinHealthy and HealthyDeadline are those of the plan, in seconds.
	MinHealthy      uint32 `cbor:"14,keyasint"`
	HealthyDeadline uint32 `cbor:"15,keyasint"`
	// LateLeft is for how many more seconds a crash loop of the committed release
	// counts against it; zero is no longer, or fallen back already.
	LateLeft uint32 `cbor:"16,keyasint"`
	// Boots counts starts within that time after which the release never ran
	// for SettledAfter.
	Boots  uint8         `cbor:"17,keyasint"`
	Result member.Result `cbor:"18,keyasint"` // on Target, or on what is committed
	Reason string        `cbor:"19,keyasint"` // for people, at most member.MaxReason bytes
	Failed []Failure     `cbor:"20,keyasint"` // oldest first, at most MaxFailed
	// Retries is how often Target was tried again though it had failed here, while
	// nothing was committed: see MaxRetries. A commit and another target clear it.
	Retries uint8 `cbor:"21,keyasint"`
}

// NewRecord is the record of a robot that has nothing of the component.
func NewRecord(component string) Record {
	return Record{Format: RecordFormat, Component: component}
}

// Baseline is the record of a robot that already runs something from slot s: it
// counts as committed, so that the first update has something to go back to.
func Baseline(component string, s Slot, content SlotRecord) Record {
	r := NewRecord(component)
	content.State, content.Good = Whole, true
	r.Slots[s] = content
	r.Current, r.Committed, r.HasCommitted = s, s, true
	r.Phase, r.Result, r.Target = member.Committed, member.Good, content.Release
	return r
}

// Encode returns the bytes of the file: a checksum, then the record.
func (r *Record) Encode() []byte {
	body := canonical.Encode(r)
	sum := manifest.Sum(body)
	return append(sum[:checksumBytes:checksumBytes], body...)
}

// DecodeRecord is the inverse of Encode. It refuses anything that Encode has not
// written: errors wrap ErrDamaged, ErrInvalid or canonical.ErrFuture, and the
// record is then zero.
func DecodeRecord(data []byte) (Record, error) {
	if len(data) <= checksumBytes || len(data) > MaxRecordBytes {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrDamaged, len(data))
	}
	body := data[checksumBytes:]
	sum := manifest.Sum(body)
	if !bytes.Equal(sum[:checksumBytes], data[:checksumBytes]) {
		return Record{}, fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
	}
	var r Record
	if err := canonical.DecodeFormat(body, MaxRecordBytes, "update record", RecordFormat, &r); err != nil {
		if errors.Is(err, canonical.ErrFuture) {
			return Record{}, err
		}
		return Record{}, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if err := r.Check(); err != nil {
		return Record{}, err
	}
	return r, nil
}

// Check reports the first thing that makes r unusable; errors wrap ErrInvalid.
func (r *Record) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w of %q: "+format, append([]any{ErrInvalid, r.Component}, args...)...)
	}
	if r.Format != RecordFormat || !manifest.ValidName(r.Component) {
		return bad("format %d", r.Format)
	}
	if int(r.Phase) >= member.Phases || r.Result > member.Failed || r.Kind > Revert {
		return bad("phase %d, result %d, kind %d", r.Phase, r.Result, r.Kind)
	}
	if r.Current > B || r.Committed > B || r.Into > B {
		return bad("a slot that is neither a nor b")
	}
	for i := range r.Slots {
		if err := r.Slots[i].check(); err != nil {
			return bad("slot %s: %v", Slot(i), err)
		}
	}
	if r.HasCommitted && r.Slots[r.Committed].State != Whole {
		return bad("committed slot %s is %s", r.Committed, r.Slots[r.Committed].State)
	}
	if r.Phase == member.Committed && !r.HasCommitted {
		return bad("committed, but no slot is")
	}
	if r.Phase == member.Trial && (r.Slots[r.Into].State != Whole || r.HasCommitted && r.Into == r.Committed) {
		return bad("on trial from slot %s, which is %s", r.Into, r.Slots[r.Into].State)
	}
	if r.Attempts > MaxAttempts || r.Transitions > MaxTransitions || len(r.Failed) > MaxFailed || len(r.Reason) > member.MaxReason {
		return bad("attempts %d, transitions %d, failures %d, reason of %d bytes", r.Attempts, r.Transitions, len(r.Failed), len(r.Reason))
	}
	return nil
}

func (s *SlotRecord) check() error {
	if s.State > Whole || len(s.Variant) > 32 || len(s.Run) > 32 || (s.Driver != "" && !manifest.ValidName(s.Driver)) {
		return fmt.Errorf("state %d, variant %q, driver %q, %d words to run", s.State, s.Variant, s.Driver, len(s.Run))
	}
	for _, w := range s.Run {
		if len(w) > 256 {
			return errors.New("a word to run has more than 256 bytes")
		}
	}
	return nil
}

// clip makes text fit for a record and a report: valid UTF-8 on one line, at most
// member.MaxReason bytes.
func clip(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) <= member.MaxReason {
		return text
	}
	const mark = "..."
	cut := member.MaxReason - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
