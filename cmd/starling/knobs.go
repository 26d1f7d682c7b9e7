package main

import (
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// planLife is how long a plan counts if nothing else is asked.
const planLife = 14 * 24 * time.Hour

// knobs are the flags of a plan, as they were typed.
type knobs struct {
	cmd                                                 *cobra.Command
	component                                           string
	canary, waves, batch                                string
	canaryMin, canaryFailures, maxFailures              uint16
	soak, exposure, waveSoak, finalSoak                 string
	minHealthy, healthyDeadline, silenceDeadline        string
	installDeadline, expires, lease                     string
	maxRate, onlyWhen                                   string
	prefetch, onLost, onCanaryFail, onWaveFail, holdsAt string
	floors                                              []string
	sim, hil, despite                                   bool
	waived, reason                                      string
}

func (k *knobs) flags(cmd *cobra.Command) {
	k.cmd = cmd
	f := cmd.Flags()
	if f.Lookup("component") == nil {
		f.StringVar(&k.component, "component", manifest.DefaultComponent, "which part of the robots' software")
	}
	f.StringVar(&k.canary, "canary", "5%", "share of the robots that go first; 0% with --canary-min 0 is no canary")
	f.Uint16Var(&k.canaryMin, "canary-min", 1, "canaries at least")
	f.Uint16Var(&k.canaryFailures, "canary-max-failures", 0, "canaries that may fail")
	f.StringVar(&k.soak, "soak", "2h", "how long each canary must stay healthy")
	f.StringVar(&k.exposure, "exposure", "20h", "healthy robot-hours that the canaries need together (10 times --soak, if only that is given)")
	f.StringVar(&k.waves, "waves", "10%,20%,40%,100%", "rising shares of the robots that follow")
	f.StringVar(&k.waveSoak, "wave-soak", "30m", "how long each robot of a wave must stay healthy")
	f.StringVar(&k.finalSoak, "final-soak", "24h", "how long all robots must stay healthy at the end")
	f.Uint16Var(&k.maxFailures, "max-failures", 1, "robots of a wave that may fail, and at most 5 % of them")
	f.StringVar(&k.batch, "batch", "25%", "how many robots may switch at once: a share, or a number")
	f.StringArrayVar(&k.floors, "floor", nil, "`LABEL=VALUE:N` keeps N robots with this label in service; may be repeated")
	f.StringVar(&k.minHealthy, "min-healthy", "1m", "healthy time on trial after which a robot commits")
	f.StringVar(&k.healthyDeadline, "healthy-deadline", "15m", "a robot that has not committed by then goes back")
	f.StringVar(&k.silenceDeadline, "silence-deadline", "30m", "silence after arming that counts as failure; above --healthy-deadline")
	f.StringVar(&k.installDeadline, "install-deadline", "2h", "a robot that is not ready by then is deferred to a later batch")
	f.StringVar(&k.prefetch, "prefetch", "next", "who may fetch early: stage, next or all")
	f.StringVar(&k.maxRate, "max-rate", "", "how much of images a machine sends, and takes in, while the rollout is open: `RATE` such as 200KiB/s, or up=RATE,down=RATE,peer=RATE")
	f.StringVar(&k.onlyWhen, "only-when", "", "robots fetch it only when all of these hold: charging, still, idle")
	f.StringVar(&k.expires, "expires", "14d", "after which nothing of the plan starts any more")
	f.StringVar(&k.lease, "lease", "0s", "how long the swarm goes on without a word of the operator; 0s is as long as the plan")
	f.StringVar(&k.onLost, "on-operator-lost", "finish", "what then: advance, hold, or finish the stage and hold")
	f.StringVar(&k.onCanaryFail, "on-canary-fail", "revert", "what a failed canary does: revert or hold")
	f.StringVar(&k.onWaveFail, "on-wave-fail", "hold", "what a failed wave does: revert or hold")
	f.StringVar(&k.holdsAt, "hold-after", "", "wait for a person after this stage: canary or wave")
	f.BoolVar(&k.sim, "sim", false, "wait for a signed report of a simulation first")
	f.BoolVar(&k.hil, "hil", false, "then for one of the bench")
	f.StringVar(&k.waived, "waived", "", "why a report is not needed, for people")
	f.BoolVar(&k.despite, "despite-quarantine", false, "let a release out again that failed before; needs --reason")
	f.StringVar(&k.reason, "reason", "", "why, for people")
}

// plan is the plan that the flags ask for, without what it is for.
func (k *knobs) plan(now time.Time) (*rollout.Plan, error) {
	p := rollout.DefaultPlan()
	r := &reader{}
	p.Component = k.component
	p.CanaryPermille, p.CanaryMin = r.permille("--canary", k.canary), k.canaryMin
	p.CanaryGate.SoakSeconds, p.CanaryGate.MaxFailures = r.seconds("--soak", k.soak), k.canaryFailures
	p.CanaryGate.ExposureSeconds = uint64(r.seconds("--exposure", k.exposure))
	if f := k.cmd.Flags(); f.Changed("soak") && !f.Changed("exposure") {
		p.CanaryGate.ExposureSeconds = 10 * uint64(p.CanaryGate.SoakSeconds)
	}
	p.WaveGate.SoakSeconds, p.SoakGate.SoakSeconds = r.seconds("--wave-soak", k.waveSoak), r.seconds("--final-soak", k.finalSoak)
	p.WaveGate.MaxFailures, p.SoakGate.MaxFailures = k.maxFailures, k.maxFailures
	if k.cmd.Flags().Changed("max-failures") {
		p.WaveGate.MaxFailuresPermille, p.SoakGate.MaxFailuresPermille = 0, 0
	}
	p.Waves = nil
	for _, w := range strings.Split(k.waves, ",") {
		p.Waves = append(p.Waves, r.permille("--waves", w))
	}
	if r.err == nil {
		r.err = rising(k.waves, p.Waves)
	}
	r.batch(&p, k.batch)
	p.MinHealthySeconds, p.HealthyDeadlineSeconds = r.seconds("--min-healthy", k.minHealthy), r.seconds("--healthy-deadline", k.healthyDeadline)
	p.SilenceDeadlineSeconds, p.InstallDeadlineSeconds = r.seconds("--silence-deadline", k.silenceDeadline), r.seconds("--install-deadline", k.installDeadline)
	p.LeaseSeconds = r.seconds("--lease", k.lease)
	p.Prefetch = choose(r, "--prefetch", k.prefetch, map[string]rollout.Prefetch{"stage": rollout.FetchStage, "next": rollout.FetchNext, "all": rollout.FetchAll})
	p.OnOperatorLost = choose(r, "--on-operator-lost", k.onLost, map[string]rollout.Then{"advance": rollout.Advance, "hold": rollout.Hold, "finish": rollout.FinishHold})
	fail := map[string]rollout.Then{"revert": rollout.Revert, "hold": rollout.Hold}
	p.CanaryGate.OnFail, p.WaveGate.OnFail = choose(r, "--on-canary-fail", k.onCanaryFail, fail), choose(r, "--on-wave-fail", k.onWaveFail, fail)
	r.holdAfter(&p, k.holdsAt)
	for _, f := range k.floors {
		p.Floors = append(p.Floors, r.floor(f))
	}
	p.Limit(r.transfer(k.maxRate, k.onlyWhen))
	p.Sim, p.HIL, p.Waived, p.DespiteQuarantine, p.Reason = k.sim, k.hil, k.waived, k.despite, k.reason
	p.Created = now.Unix()
	p.Expires = p.Created + int64(r.seconds("--expires", k.expires))
	if _, err := rand.Read(p.Seed[:]); err != nil {
		return nil, fmt.Errorf("choose the seed of the cohorts: %w", err)
	}
	return &p, r.err
}

// A reader reads flags and keeps the first complaint.
type reader struct{ err error }

func (r *reader) bad(flag, text, want string) {
	if r.err == nil {
		r.err = usageError(fmt.Sprintf("%s %q: want %s", flag, text, want))
	}
}

func (r *reader) seconds(flag, text string) uint32 {
	d, err := parseSpan(text)
	s := math.Ceil(d.Seconds())
	if err != nil || d < 0 || s > math.MaxUint32 {
		r.bad(flag, text, "a time such as 90s, 2h or 14d")
		return 0
	}
	return uint32(s)
}

// permille reads "5%" or "2.5 %".
func (r *reader) permille(flag, text string) uint16 {
	t, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
	tenths := math.Round(v * 10)
	if !ok || err != nil || !(v >= 0 && v <= 100) || math.Abs(tenths-v*10) > 1e-9 {
		r.bad(flag, text, "a share of 0% to 100%, to a tenth")
		return 0
	}
	return uint16(tenths)
}

// batch reads a share or a number.
func (r *reader) batch(p *rollout.Plan, text string) {
	if strings.Contains(text, "%") {
		p.BatchPermille = r.permille("--batch", text)
		return
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		r.bad("--batch", text, "a share such as 25%, or a number of robots above 0")
		return
	}
	p.BatchPermille, p.BatchMax = 0, uint16(n)
}

func (r *reader) floor(text string) rollout.Floor {
	rest, n, ok := cutLast(text, ":")
	k, v, ok2 := strings.Cut(rest, "=")
	low, err := strconv.ParseUint(n, 10, 16)
	if !ok || !ok2 || err != nil {
		r.bad("--floor", text, "LABEL=VALUE:N, such as role=fire:2")
		return rollout.Floor{}
	}
	return rollout.Floor{Label: k, Value: v, MinAvailable: uint16(low)}
}

func (r *reader) holdAfter(p *rollout.Plan, stage string) {
	switch stage {
	case "":
	case "canary":
		p.CanaryGate.OnPass = rollout.Hold
	case "wave":
		p.WaveGate.OnPass = rollout.Hold
	default:
		r.bad("--hold-after", stage, "canary or wave")
	}
}

func choose[T any](r *reader, flag, text string, from map[string]T) T {
	v, ok := from[text]
	if !ok {
		r.bad(flag, text, strings.Join(sortedKeys(from), ", "))
	}
	return v
}

// parseSpan is time.ParseDuration that knows days: 14d, 1d12h.
func parseSpan(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no time", s)
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
