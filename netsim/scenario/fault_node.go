package scenario

import "time"

// A Crash ends a node's process, with what it had not told anybody. Written files
// stay, as after kill -9.
type Crash struct {
	// Restart is when it starts anew; nil is never.
	Restart *time.Duration `yaml:"restart"`
	// Step waits until the machine's update reaches a step such as app/armed; empty
	// is at once.
	Step string `yaml:"step"`
}

// A PowerCut ends a machine: what was not synced is forgotten.
type PowerCut struct {
	Restart *time.Duration `yaml:"restart"` // nil is never
	Step    string         `yaml:"step"`    // as Crash.Step
	// Torn keeps some pages and sectors of what was written and not synced; else each file
	// keeps all of that or nothing.
	Torn bool `yaml:"torn"`
}

// Restart stops a machine in order, and boots it after Down.
type Restart struct {
	Down time.Duration `yaml:"down" default:"5s"`
}

// Pause freezes a machine's packets: none leaves, and those for it come late, all
// at once (the anomaly of Lifeguard, arXiv 1707.00788 §V).
type Pause struct{}

// SlowCPU makes computing slower, so many times.
type SlowCPU struct {
	Factor int `yaml:"factor" default:"8" min:"2" max:"1000"`
}

// A Clock goes wrong: it jumps, or runs fast (slow, if negative) by millionths.
// What is undone after For is the drift.
type Clock struct {
	Jump     time.Duration `yaml:"jump" min:"-365d"`
	DriftPPM int           `yaml:"drift_ppm" min:"-100000" max:"100000"`
}

// DiskFull leaves so much space.
type DiskFull struct {
	Free Bytes `yaml:"free"`
}

// A BadWrite is a disk that lies: a write is torn (its start only), lost, or has a
// bit flipped.
type BadWrite struct {
	Kind string `yaml:"kind" oneof:"torn lost flipped"`
	Rate Share  `yaml:"rate" default:"1%"`
}

// Behave makes payloads behave otherwise than their release says.
type Behave struct {
	As Behaviour `yaml:"as" default:"crash-at-start"`
	// Release it is about; empty is whatever runs.
	Release Ref `yaml:"release"`
}

// The kinds of Lie.
const (
	LieCorrupt     = "corrupt"           // pieces with other bytes
	LieStall       = "stall"             // takes requests and answers none
	LieHave        = "false-have"        // offers pieces that it does not have
	LieCertificate = "stale-certificate" // shows old orders as the newest
	LieMembership  = "forged-membership" // says that members are dead or elsewhere
	LieHealth      = "forged-health"     // reports the contrary of what is so
	LieVoter       = "lying-voter"       // signs two orders for one index
	LieLeader      = "captured-leader"   // a leader that decides what no plan allows
	LieStranger    = "stranger-raft"     // a machine outside the roster that speaks raft
)

// A Lie is a machine in the wrong hands.
type Lie struct {
	How  string `yaml:"how" oneof:"corrupt stall false-have stale-certificate forged-membership forged-health lying-voter captured-leader stranger-raft"`
	Rate Share  `yaml:"rate" default:"100%"` // of its answers
}

// MoveVoters swaps so many voters for others, one after the other.
type MoveVoters struct {
	Count int `yaml:"count" default:"1" min:"1" max:"7"`
}

// SwitchOff is a machine going off, saying so first unless Silent: robots at dusk,
// or a laptop that is closed. After For it is switched on again.
type SwitchOff struct {
	Silent bool `yaml:"silent"`
}

// Move sends machines away at a speed in metres per second, to a point or by a
// distance. After For they come back.
type Move struct {
	To    *Point  `yaml:"to"`
	By    *Point  `yaml:"by"`
	Speed float64 `yaml:"speed" default:"10" min:"0.001" max:"1000"`
}
