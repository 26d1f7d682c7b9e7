package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Step is one thing an operator does. Steps happen in order: one that waits for a
// time or a condition keeps those after it waiting, and one without either follows
// at once. Exactly one action is set.
type Step struct {
	At    *time.Duration `yaml:"at"`
	After *Condition     `yaml:"after"`
	// By is the operator who acts; empty is the first.
	By string `yaml:"by"`

	Ship     *Ship     `yaml:"ship"`     // publish, if it is not yet, and start a rollout
	Publish  *Ref      `yaml:"publish"`  // put a release into the trust documents only
	Pause    *string   `yaml:"pause"`    // the rollout that runs; the text is the reason
	Resume   *string   `yaml:"resume"`   // also past a gate that holds
	Renew    *string   `yaml:"renew"`    // the operator's lease
	Rollback *Rollback `yaml:"rollback"` // everybody back
	Halt     *string   `yaml:"halt"`     // freeze all robots, without quorum
	Clear    *string   `yaml:"clear"`    // the halt
	Leave    *Pick     `yaml:"leave"`    // operators close their laptops
	Return   *Pick     `yaml:"return"`   // and open them again
	Revoke   *Pick     `yaml:"revoke"`   // robots lose their membership for good
	Label    *Label    `yaml:"label"`
	Invite   *Invite   `yaml:"invite"`  // late groups join
	Genesis  *Genesis  `yaml:"genesis"` // begin anew after the quorum is lost
}

// Rollback takes a release back, or goes to one of its fallbacks.
type Rollback struct {
	To     Ref    `yaml:"to"` // empty: what was active before
	Reason string `yaml:"reason"`
}

// Label sets labels of robots; an empty value takes a label away.
type Label struct {
	Pick Pick              `yaml:"pick"`
	Set  map[string]string `yaml:"set"`
}

// Invite switches late groups on, evenly within Over; 0 is all at once.
type Invite struct {
	Groups []string      `yaml:"groups,one"`
	Over   time.Duration `yaml:"over"`
}

// Genesis is a new generation with so many voters; 0 is World.Voters.Count.
type Genesis struct {
	Voters int `yaml:"voters" max:"7"`
}

// A Ship is a plan: the knobs that an operator has, under the names that the command
// line gives them. The defaults are shorter than an operator's: a run lasts
// minutes, not days. Times are whole seconds, shares whole per mille, as in plans.
type Ship struct {
	Version Ref `yaml:"version"`

	// Canary of the robots, CanaryMin at least, go first; 0% and 0 are no canary.
	Canary    Share `yaml:"canary" default:"5%"`
	CanaryMin int   `yaml:"canary_min" default:"1" max:"1000"`
	// CanaryMaxFailures of them, MaxFailures robots of a wave, may fail.
	CanaryMaxFailures int `yaml:"canary_max_failures" max:"1000"`
	MaxFailures       int `yaml:"max_failures" default:"1" max:"1000"`
	// Waves are rising shares of the robots; the last is 100%.
	Waves []Share `yaml:"waves" default:"[10%, 20%, 40%, 100%]"`

	// Soak is how long each canary must stay healthy; WaveSoak and FinalSoak are the
	// same for a wave's robots and for all in the end, and like Soak if absent.
	// Exposure is what the canaries need together.
	Soak      time.Duration  `yaml:"soak" default:"10s"`
	WaveSoak  *time.Duration `yaml:"wave_soak"`
	FinalSoak *time.Duration `yaml:"final_soak"`
	Exposure  time.Duration  `yaml:"exposure"`

	// Batch is how many may switch at once.
	Batch  Amount  `yaml:"batch" default:"25%"`
	Floors []Floor `yaml:"floors"`

	// MinHealthy of trial commits a robot; HealthyDeadline after activation it goes
	// back. SilenceDeadline after arming its silence is a failure. InstallDeadline
	// after its batch opened it is deferred.
	MinHealthy      time.Duration `yaml:"min_healthy" default:"5s" min:"1s"`
	HealthyDeadline time.Duration `yaml:"healthy_deadline" default:"1m"`
	SilenceDeadline time.Duration `yaml:"silence_deadline" default:"2m"`
	InstallDeadline time.Duration `yaml:"install_deadline" default:"5m" min:"1s"`

	// Prefetch says who may fetch before their turn.
	Prefetch string `yaml:"prefetch" default:"next" oneof:"stage next all"`
	// MaxRate, per second, is how much of images a machine sends, and how much it takes in,
	// while the rollout is open; 0 is no limit of the plan's. OnlyWhen are conditions
	// (charging, still, idle) in which robots fetch it; no application here says the first
	// two, so that robots which are to charge are deferred.
	MaxRate  Bytes    `yaml:"max_rate"`
	OnlyWhen []string `yaml:"only_when,one"`
	// Expires is the plan's life: nothing starts after it.
	Expires time.Duration `yaml:"expires" default:"14d" min:"1s"`
	// Lease without a word of the operator makes OnOperatorLost happen; 0 is as long
	// as the plan.
	Lease          time.Duration `yaml:"lease"`
	OnOperatorLost string        `yaml:"on_operator_lost" default:"finish" oneof:"advance hold finish"`
	OnCanaryFail   string        `yaml:"on_canary_fail" default:"revert" oneof:"revert hold"`
	OnWaveFail     string        `yaml:"on_wave_fail" default:"hold" oneof:"revert hold"`
	// HoldAfter waits for a person after this stage; none does not.
	HoldAfter string `yaml:"hold_after" default:"none" oneof:"none canary wave"`
	// Sim and HIL ask for a signed report first; Waived says why none is needed.
	Sim    bool   `yaml:"sim"`
	HIL    bool   `yaml:"hil"`
	Waived string `yaml:"waived"`
	// DespiteQuarantine lets a release out again that failed; Reason says why.
	DespiteQuarantine bool   `yaml:"despite_quarantine"`
	Reason            string `yaml:"reason"`
}

// A Floor keeps robots of one kind in service.
type Floor struct {
	Label        string `yaml:"label"`
	Value        string `yaml:"value"`
	MinAvailable int    `yaml:"min_available" max:"5000"`
}

// Action is the key of what the step does, and its value behind a pointer; "" if
// not exactly one action is set.
func (s *Step) Action() (key string, value any) { return soleAction(s, "at", "after", "by") }

// Racing verbs of operators.
var raceVerbs = []string{"ship", "publish", "pause", "resume", "rollback", "renew"}

// A Word is what one of several operators says in a race: a verb and a release.
type Word struct {
	Verb    string
	Release Ref
}

// UnmarshalText reads "ship 1.1".
func (w *Word) UnmarshalText(text []byte) error {
	words := strings.Fields(string(text))
	if len(words) != 2 {
		return fmt.Errorf("%q: want a verb (%s) and a release, such as ship 1.1", text, strings.Join(raceVerbs, ", "))
	}
	*w = Word{Verb: words[0], Release: Ref(words[1])}
	return w.Check()
}

// Check reports a verb that there is not.
func (w Word) Check() error {
	if !slices.Contains(raceVerbs, w.Verb) {
		return fmt.Errorf("no verb %q in a race; there is %s", w.Verb, strings.Join(raceVerbs, ", "))
	}
	if w.Release == "" {
		return fmt.Errorf("%s which release?", w.Verb)
	}
	return nil
}

// MarshalText undoes UnmarshalText.
func (w Word) MarshalText() ([]byte, error) { return []byte(w.Verb + " " + string(w.Release)), nil }
