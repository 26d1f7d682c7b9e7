package rollout

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// PlanFormat is that of a plan without a Transfer, LimitedPlanFormat that of a plan
	// with one. The first is what every build reads; the second is the newest that this
	// build reads, and an older one refuses it with the word to update.
	PlanFormat, LimitedPlanFormat = 1, 2
	// MaxWaves bounds the waves of a plan.
	MaxWaves = 16
	// MaxFloors bounds the availability floors of a plan.
	MaxFloors = 8
)

// ErrPlan is wrapped by every complaint about a plan's contents.
var ErrPlan = errors.New("rollout: plan")

// Prefetch says which robots may fetch a release before their batch opens.
type Prefetch uint8

// The choices of Plan.Prefetch.
const (
	FetchStage Prefetch = 0 // the robots of the stage that is open
	FetchNext  Prefetch = 1 // and those of the next
	FetchAll   Prefetch = 2 // every robot, from the start
)

// Then says what happens at the end of a stage or lease, or on a failed gate.
type Then uint8

// The choices of the plan's On… fields.
const (
	Advance    Then = 0
	Hold       Then = 1
	Revert     Then = 2
	FinishHold Then = 3 // finish the open stage, then hold
)

// A Gate says how many robots of a stage may fail, and how long the others must
// be well.
type Gate struct {
	_ struct{} `cbor:",toarray"`
	// MaxFailures is how many robots may fail; one more fails the gate. With
	// MaxFailuresPermille of the stage's robots, the lower of both counts;
	// a permille of 0 means that only MaxFailures counts.
	MaxFailures         uint16
	MaxFailuresPermille uint16
	// SoakSeconds is how long each robot must have been healthy on the new
	// release, after its commit, by its own clock.
	SoakSeconds uint32
	// ExposureSeconds is how many robot-seconds all must have together.
	ExposureSeconds uint64
	OnFail          Then // Hold or Revert
	OnPass          Then // Advance or Hold
}

// A Floor keeps robots of one kind in service.
type Floor struct {
	_            struct{} `cbor:",toarray"`
	Label, Value string   // which robots: a label and its value
	MinAvailable uint16   // how many must not be switching
}

// A Plan is the signed bounds of one rollout. Which robots, in which order, and
// when is left to the swarm, inside these bounds. Zero of a limit means what its
// comment says; Default fills in what a careful operator would.
type Plan struct {
	Format    uint         `cbor:"0,keyasint" json:"format"`
	Swarm     string       `cbor:"1,keyasint" json:"swarm"`
	Component string       `cbor:"2,keyasint" json:"component"`
	Release   manifest.Ref `cbor:"3,keyasint" json:"release"`
	// From is what was active when the plan was made; it may be zero. A plan
	// made against something else is refused.
	From manifest.Ref `cbor:"4,keyasint" json:"from"`
	// Seed makes the choice of cohorts the operator's, not the leader's.
	Seed    [16]byte `cbor:"5,keyasint" json:"seed"`
	Created int64    `cbor:"6,keyasint" json:"created"` // Unix seconds
	Expires int64    `cbor:"7,keyasint" json:"expires"` // Unix seconds; nothing starts after it

	// Sim and HIL say whether the stage needs a signed report.
	Sim bool `cbor:"8,keyasint" json:"sim"`
	HIL bool `cbor:"9,keyasint" json:"hil"`
	// Waived says why a report that the swarm's habit asks for is not needed.
	Waived string `cbor:"10,keyasint" json:"waived"`

	// CanaryPermille of the robots, at least CanaryMin and one per variant, are
	// canaries; CanaryMin 0 and CanaryPermille 0 mean no canary stage.
	CanaryPermille uint16 `cbor:"11,keyasint" json:"canary_permille"`
	CanaryMin      uint16 `cbor:"12,keyasint" json:"canary_min"`
	CanaryGate     Gate   `cbor:"13,keyasint" json:"canary_gate"`
	// Waves are cumulative shares of the robots, in per mille, rising; the last
	// is 1000.
	Waves    []uint16 `cbor:"14,keyasint" json:"waves"`
	WaveGate Gate     `cbor:"15,keyasint" json:"wave_gate"`
	// SoakGate judges all robots after the last wave.
	SoakGate Gate `cbor:"16,keyasint" json:"soak_gate"`

	// BatchPermille of the robots may switch at once, and BatchMax at most (0:
	// no such limit); at least one.
	BatchPermille uint16  `cbor:"17,keyasint" json:"batch_permille"`
	BatchMax      uint16  `cbor:"18,keyasint" json:"batch_max"`
	Floors        []Floor `cbor:"19,keyasint" json:"floors"`

	// MinHealthySeconds of trial without a failed probe commit a robot.
	MinHealthySeconds uint32 `cbor:"20,keyasint" json:"min_healthy_seconds"`
	// HealthyDeadlineSeconds after its activation a robot that has not
	// committed reverts.
	HealthyDeadlineSeconds uint32 `cbor:"21,keyasint" json:"healthy_deadline_seconds"`
	// InstallDeadlineSeconds after its batch opened a robot that is not armed is
	// deferred.
	InstallDeadlineSeconds uint32 `cbor:"22,keyasint" json:"install_deadline_seconds"`
	// SilenceDeadlineSeconds after a robot armed its silence counts as failure. It
	// exceeds HealthyDeadlineSeconds: by then its own watchdog has reverted it.
	SilenceDeadlineSeconds uint32 `cbor:"23,keyasint" json:"silence_deadline_seconds"`

	Prefetch Prefetch `cbor:"24,keyasint" json:"prefetch"`
	// LeaseSeconds without a word of the operator make OnOperatorLost happen;
	// 0 is as long as the plan.
	LeaseSeconds   uint32 `cbor:"25,keyasint" json:"lease_seconds"`
	OnOperatorLost Then   `cbor:"26,keyasint" json:"on_operator_lost"`
	// DespiteQuarantine lets a quarantined release out again; Reason says why.
	DespiteQuarantine bool   `cbor:"27,keyasint" json:"despite_quarantine"`
	Reason            string `cbor:"28,keyasint" json:"reason"` // for people, at most 200 bytes

	// Transfer narrows how images may use links meanwhile; only with LimitedPlanFormat.
	Transfer Transfer `cbor:"29,keyasint,omitzero" json:"transfer,omitzero"`
}

// DefaultPlan returns the plan that reference values and a careful operator
// would choose: 5 % canaries for 2 hours and 20 robot-hours, waves of 10, 20, 40
// and 100 %, a quarter of the robots at once, 14 days.
func DefaultPlan() Plan {
	const minute, hour = 60, 3600
	return Plan{
		Format: PlanFormat, Component: manifest.DefaultComponent,
		CanaryPermille: 50, CanaryMin: 1,
		CanaryGate:    Gate{SoakSeconds: 2 * hour, ExposureSeconds: 20 * hour, OnFail: Revert},
		Waves:         []uint16{100, 200, 400, 1000},
		WaveGate:      Gate{MaxFailures: 1, MaxFailuresPermille: 50, SoakSeconds: 30 * minute, OnFail: Hold},
		SoakGate:      Gate{MaxFailures: 1, MaxFailuresPermille: 50, SoakSeconds: 24 * hour, OnFail: Hold},
		BatchPermille: 250, MinHealthySeconds: 60, HealthyDeadlineSeconds: 15 * minute,
		InstallDeadlineSeconds: 2 * hour, SilenceDeadlineSeconds: 30 * minute,
		Prefetch: FetchNext, OnOperatorLost: FinishHold,
	}
}

// Check reports everything that makes p impossible by itself, each error wrapping
// ErrPlan. Whether the swarm can satisfy it is another question: see Preview.
func (p *Plan) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrPlan}, args...)...))
	}
	if p.Format != PlanFormat && p.Format != LimitedPlanFormat || (p.Format == LimitedPlanFormat) == p.Transfer.IsZero() {
		bad("format %d; %d is that of a plan with limits for transfers, %d that of one without", p.Format, LimitedPlanFormat, PlanFormat)
	}
	p.Transfer.check(bad)
	if !manifest.ValidName(p.Component) || p.Release.IsZero() || !manifest.ValidVersion(p.Release.Version) || p.Release.Counter == 0 {
		bad("names no release")
	}
	if p.Release.Digest == p.From.Digest {
		bad("release %s is what it starts from", p.Release.Version)
	}
	if p.Expires <= p.Created {
		bad("expires before it was created")
	}
	if p.CanaryPermille > 1000 || p.BatchPermille > 1000 {
		bad("a share above 1000 per mille: canary %d, batch %d", p.CanaryPermille, p.BatchPermille)
	}
	if p.BatchPermille == 0 && p.BatchMax == 0 {
		bad("no batch: set batch_permille or batch_max, or nothing could ever switch")
	}
	if n := len(p.Waves); n == 0 || n > MaxWaves || p.Waves[n-1] != 1000 {
		bad("waves %v: want 1 to %d rising shares, the last 1000", p.Waves, MaxWaves)
	}
	for i := range p.Waves {
		if p.Waves[i] == 0 || p.Waves[i] > 1000 || (i > 0 && p.Waves[i] <= p.Waves[i-1]) {
			bad("waves %v do not rise from above 0 to 1000", p.Waves)
			break
		}
	}
	for _, g := range []struct {
		name string
		Gate
	}{{"canary", p.CanaryGate}, {"wave", p.WaveGate}, {"soak", p.SoakGate}} {
		if g.MaxFailuresPermille > 1000 || (g.OnFail != Hold && g.OnFail != Revert) || (g.OnPass != Advance && g.OnPass != Hold) {
			bad("%s gate: failures %d per mille, on_fail %d, on_pass %d", g.name, g.MaxFailuresPermille, g.OnFail, g.OnPass)
		}
	}
	if p.MinHealthySeconds == 0 || p.HealthyDeadlineSeconds <= p.MinHealthySeconds {
		bad("healthy_deadline %d s must exceed min_healthy %d s, and that 0", p.HealthyDeadlineSeconds, p.MinHealthySeconds)
	}
	if p.SilenceDeadlineSeconds <= p.HealthyDeadlineSeconds {
		bad("silence_deadline %d s must exceed healthy_deadline %d s, or a robot that is reverting would count as lost", p.SilenceDeadlineSeconds, p.HealthyDeadlineSeconds)
	}
	if p.InstallDeadlineSeconds == 0 {
		bad("install_deadline 0: every robot would be deferred at once")
	}
	if p.Prefetch > FetchAll || p.OnOperatorLost == Revert || p.OnOperatorLost > FinishHold {
		bad("prefetch %d, on_operator_lost %d", p.Prefetch, p.OnOperatorLost)
	}
	if len(p.Floors) > MaxFloors || len(p.Reason) > 200 || len(p.Waived) > 200 {
		bad("more than %d floors, or a reason above 200 bytes", MaxFloors)
	}
	for _, f := range p.Floors {
		if !manifest.ValidName(f.Label) || f.Value == "" || len(f.Value) > 64 {
			bad("floor for %s=%q", f.Label, f.Value)
		}
	}
	if p.DespiteQuarantine && p.Reason == "" {
		bad("despite_quarantine needs a reason")
	}
	return errors.Join(errs...)
}

// Seal puts p into an unsigned envelope.
func (p *Plan) Seal() *envelope.Envelope {
	return envelope.New(envelope.Plan, p.Format, envelope.SwarmScope(p.Swarm), p)
}

// OpenPlan verifies and parses a plan of swarm signed by keys.
func OpenPlan(data []byte, swarm string, keys envelope.Keys) (*Plan, *envelope.Envelope, error) {
	var p Plan
	e, err := open(data, envelope.Plan, swarm, keys, LimitedPlanFormat, &p)
	if err != nil {
		return nil, nil, err
	}
	if e.Format != p.Format {
		return nil, nil, fmt.Errorf("%w: of format %d inside an envelope for format %d", ErrPlan, p.Format, e.Format)
	}
	if p.Swarm != swarm {
		return nil, nil, fmt.Errorf("%w: for swarm %q inside an envelope for %q", ErrPlan, p.Swarm, swarm)
	}
	return &p, e, p.Check()
}

// open decodes, verifies and opens an envelope of the swarm.
func open(data []byte, k envelope.Kind, swarm string, keys envelope.Keys, newest uint, v any) (*envelope.Envelope, error) {
	e, err := envelope.Decode(data, k)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(envelope.SwarmScope(swarm), keys); err != nil {
		return nil, err
	}
	return e, e.Open(newest, v)
}
