package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// thens are the words of a scenario for what happens at the end of something.
var thens = map[string]rollout.Then{"advance": rollout.Advance, "hold": rollout.Hold, "revert": rollout.Revert, "finish": rollout.FinishHold}

// prefetches are the values of Ship.Prefetch, in the order of rollout's constants.
var prefetches = []string{"stage", "next", "all"}

// plan is the signed bounds that a step of the story asks for.
func (w *World) plan(r *release, s *scenario.Ship) (*rollout.Plan, error) {
	if w.isGiven(r) {
		return w.asGiven(r), nil
	}
	soak := func(d *time.Duration) uint32 {
		if d == nil {
			return seconds(s.Soak)
		}
		return seconds(*d)
	}
	p := &rollout.Plan{
		Format: rollout.PlanFormat, Swarm: w.swarm, Component: r.Component, Release: r.Ref(),
		Created: time.Now().Unix(), Expires: time.Now().Add(s.Expires).Unix(),
		Sim: s.Sim, HIL: s.HIL, Waived: s.Waived,
		CanaryPermille: permille(s.Canary), CanaryMin: uint16(s.CanaryMin),
		CanaryGate: rollout.Gate{
			MaxFailures: uint16(s.CanaryMaxFailures), SoakSeconds: seconds(s.Soak), ExposureSeconds: uint64(seconds(s.Exposure)), OnFail: thens[s.OnCanaryFail],
		},
		WaveGate:               rollout.Gate{MaxFailures: uint16(s.MaxFailures), SoakSeconds: soak(s.WaveSoak), OnFail: thens[s.OnWaveFail]},
		SoakGate:               rollout.Gate{MaxFailures: uint16(s.MaxFailures), SoakSeconds: soak(s.FinalSoak), OnFail: thens[s.OnWaveFail]},
		MinHealthySeconds:      seconds(s.MinHealthy),
		HealthyDeadlineSeconds: seconds(s.HealthyDeadline), SilenceDeadlineSeconds: seconds(s.SilenceDeadline), InstallDeadlineSeconds: seconds(s.InstallDeadline),
		LeaseSeconds: seconds(s.Lease), OnOperatorLost: thens[s.OnOperatorLost],
		DespiteQuarantine: s.DespiteQuarantine, Reason: s.Reason,
	}
	for _, share := range s.Waves {
		p.Waves = append(p.Waves, permille(share))
	}
	if s.Batch.Share != 0 {
		p.BatchPermille = permille(s.Batch.Share)
	} else {
		p.BatchMax = uint16(s.Batch.Count)
	}
	for _, f := range s.Floors {
		p.Floors = append(p.Floors, rollout.Floor{Label: f.Label, Value: f.Value, MinAvailable: uint16(f.MinAvailable)})
	}
	switch s.HoldAfter {
	case "canary":
		p.CanaryGate.OnPass = rollout.Hold
	case "wave":
		p.WaveGate.OnPass = rollout.Hold
	}
	when, err := rollout.ConditionsOf(s.OnlyWhen)
	if err != nil {
		return nil, err
	}
	p.Limit(rollout.Transfer{UpBytesPerSec: int64(s.MaxRate), DownBytesPerSec: int64(s.MaxRate), OnlyWhen: when})
	i := slices.Index(prefetches, s.Prefetch)
	if i < 0 {
		return nil, fmt.Errorf("prefetch %q", s.Prefetch)
	}
	p.Prefetch = rollout.Prefetch(i)
	w.draw("plan", r.spec.Ref()).fill(p.Seed[:])
	return p, nil
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func permille(s scenario.Share) uint16 { return uint16(int64(s) * 1000 / int64(scenario.Whole)) }
