// Package planted breaks promises on purpose, so that the simulator can be shown to
// notice. A build with the tag planted has one bug, the one that the environment
// variable STARLING_PLANT names; any other build has none: Is is false there, and the
// compiler leaves out whatever stands behind it.
//
//	if planted.Is("arm-alone") {
//		return nil // nobody was asked
//	}
package planted

// Env is the environment variable that names the bug.
const Env = "STARLING_PLANT"

// A Bug is one promise broken.
type Bug struct {
	Name string
	Does string
	// Breaks is the invariant that notices.
	Breaks string
}

// Bugs are all that can be planted, one at least for each invariant.
func Bugs() []Bug {
	return []Bug{
		{"quorum-of-one", "a certificate needs one signature", "one-order"},
		{"two-rollouts", "a rollout starts while another is under way", "one-active-rollout"},
		{"wrong-bytes", "chunks are not compared with their digest, nor is the image before it runs", "verified-first"},
		{"arm-alone", "a robot switches without a voter's acknowledgement", "permitted-switch"},
		{"any-batch", "robots of later batches may switch too", "cohort-only"},
		{"forget-orders", "a restart forgets which orders were verified", "never-backwards"},
		{"batch-plus-one", "a batch has one robot more than the plan allows", "enough-in-service"},
		{"skip-gate", "a canary stage passes as soon as its robots have switched", "gate-first"},
		{"commit-early", "a trial ends with the first good probe", "gate-first"},
		{"ignore-halt", "robots and voters go on under a halt", "stop-stops"},
		{"voters-together", "voters switch in one batch with others", "quorum-kept"},
		{"no-revert", "a failed trial goes on", "good-slot"},
		{"other-cohorts", "robots are ranked by their key alone", "same-cohort"},
		{"no-rejoin", "gossip never tries again whom it has lost", "same-members-at-last"},
		{"keep-quarantined", "a robot keeps a release that was taken back", "converges-after-heal"},
		{"wait-for-all", "a batch waits for robots that are off", "waits-for-nobody"},
		{"dead-voters-stay", "a dead voter keeps its seat", "voters-at-last"},
		{"forget-votes", "a voter that starts again has forgotten its term and vote", "one-leader"},
		{"second-genesis", "a genesis is written until the first decision, each time anew, and the last one counts", "one-generation"},
		{"any-variant", "a robot that no variant matches gets the first one", "only-agreed-bytes"},
		{"wide-meta", "gossip metadata carries a digest", "within-caps"},
		{"leak-streams", "connections between voters count as open after their end", "one-leader-at-last"},
		{"far-behind", "whoever missed more than eight orders is handed none", "newest-order-at-last"},
	}
}
