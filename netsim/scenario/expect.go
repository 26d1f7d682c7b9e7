package scenario

import "time"

// Expect is what must be so. What happens at every step is Safety; the rest is
// judged when the run ends, or as soon as it is so and nothing more can happen.
type Expect struct {
	// Safety are invariants by name, or all, or none.
	Safety []string `yaml:"safety,one" default:"all"`
	// Except are invariants that all does not mean here, each with a reason in About.
	Except []string `yaml:"except,one"`
	// ConvergeWithin is when every robot that can be reached must have come to rest.
	ConvergeWithin time.Duration `yaml:"converge_within"`
	// Active releases run, committed, on every robot that they are for.
	Active []Ref `yaml:"active,one"`
	// Reverted releases went out and came back: no robot runs them.
	Reverted []Ref `yaml:"reverted,one"`
	// MaxOutOfService of the robots at most are between two releases at once.
	MaxOutOfService *Amount `yaml:"max_out_of_service"`
	// Untouched robots never ran anything but the first releases.
	Untouched *Pick `yaml:"untouched"`
	// LeftBehind at most may be elsewhere than the others in the end.
	LeftBehind Amount `yaml:"left_behind" default:"0"`
	// Holds is text in the reason for which the last rollout holds in the end.
	Holds string `yaml:"holds"`
	// Says is text in the reason for which the last rollout ended.
	Says string `yaml:"says"`
	// SeedSends is how often at most the operator sends the image of a release; 0
	// does not ask.
	SeedSends float64 `yaml:"seed_sends" min:"0" max:"1000"`
	// SafeToLeaveWithin is how long after a ship the operator may be needed; 0 does
	// not ask.
	SafeToLeaveWithin time.Duration `yaml:"safe_to_leave_within"`
}

// An Invariant is a promise that the simulator checks from ground truth.
type Invariant struct {
	Name  string
	Means string
	// Live ones are about what happens at last, among the connected, after the
	// faults; the others hold at every step.
	Live bool
}

// Invariants are all promises, in the order in which reports show them.
// Two of the reference's list are not among them: an interlock that stays closed while a
// robot switches, for simulated payloads have none; and memory and goroutines per node,
// for all nodes of a run share one heap (a report has the run's own).
func Invariants() []Invariant {
	return []Invariant{
		{"one-leader", "at most one leader in a term, and one command at an index", false},
		{"one-order", "at most one certified order at an index, and they form one chain", false},
		{"one-active-rollout", "at most one rollout is under way", false},
		{"only-agreed-bytes", "a robot runs only images of releases that the owner signed for its model", false},
		{"verified-first", "no byte runs, and no piece is passed on, before it is verified", false},
		{"permitted-switch", "a robot switches only under a certificate that covers it, with its gate open", false},
		{"never-backwards", "index, generation, roster and counters never decrease on a robot", false},
		{"enough-in-service", "never more robots out of service than the plan allows", false},
		{"gate-first", "a stage opens only after the gate before it held on signed reports", false},
		{"stop-stops", "who has received a stop starts nothing new", false},
		{"one-generation", "who has seen a newer generation applies nothing of an older one", false},
		{"quorum-kept", "our own restarts never take a quorum of the voters away", false},
		{"good-slot", "a failed boot ends in the slot that was good before", false},
		{"same-cohort", "equal orders and rosters give all robots equal cohorts", false},
		{"cohort-only", "only robots of an open batch, or that catch up, switch", false},
		{"within-caps", "documents, metadata and snapshots stay below their bounds", false},
		{"one-leader-at-last", "there is one leader within ten heartbeats", true},
		{"same-members-at-last", "all see the same members", true},
		{"newest-order-at-last", "all have the newest certificate", true},
		{"converges-after-heal", "every robot that can is committed, or rolled back", true},
		{"voters-at-last", "there are as many voters as there should be", true},
		{"waits-for-nobody", "nobody waits for a robot that is gone", true},
	}
}

// Checked are the names of the invariants that e asks for.
func (e *Expect) Checked() []string {
	var names []string
	for _, i := range Invariants() {
		if e.checks(i.Name) {
			names = append(names, i.Name)
		}
	}
	return names
}

func (e *Expect) checks(name string) bool {
	asked := false
	for _, s := range e.Safety {
		asked = asked || s == "all" || s == name
	}
	for _, x := range e.Except {
		asked = asked && x != name
	}
	return asked
}
