package rollout

import "errors"

// Why Apply refuses a decision. Every error of Apply wraps one of these, one of
// ErrPlan, or one of the packages canonical, envelope and manifest. Whatever it
// is, the decision has changed nothing that robots see.
var (
	// ErrDecision is a decision that says nothing sensible: drop it.
	ErrDecision = errors.New("rollout: malformed decision")
	// ErrApplied is a log index that was applied before; the state stays as it is.
	ErrApplied = errors.New("rollout: log index applied before")
	// ErrTooNew is a decision that this build cannot apply although others can. The
	// replica must stop here and keep its state: update starling, then go on.
	ErrTooNew = errors.New("rollout: this build is too old for the log")
	// ErrStale is a document made against something that is not current any more:
	// look at what is, and sign anew.
	ErrStale = errors.New("rollout: made against what is not current")
	// ErrReplay is an intent whose counter the key has used: sign with a higher one.
	ErrReplay = errors.New("rollout: intent was seen before")
	// ErrSeen is wrapped beside ErrReplay if it is this very counter that the key has
	// used last: whoever brings an intent twice learns that the first time counted.
	ErrSeen = errors.New("rollout: it was applied already")
	// ErrBusy is a change that an unfinished rollout forbids: roll it back, or wait.
	ErrBusy = errors.New("rollout: another one is not finished")
	// ErrExpired is a plan past its time: sign a new one.
	ErrExpired = errors.New("rollout: plan has expired")
	// ErrForbidden is a release that may not run or may not replace what runs: the
	// text says by which rule.
	ErrForbidden = errors.New("rollout: release may not run")
	// ErrImpossible is a plan that this swarm can never satisfy: change the plan.
	ErrImpossible = errors.New("rollout: plan cannot be satisfied")
	// ErrNoRollout is a word about a rollout that is not there, or is over.
	ErrNoRollout = errors.New("rollout: no such rollout")
	// ErrNotYet is an advance for which the time or the evidence has not come. The
	// text says what it waits for.
	ErrNotYet = errors.New("rollout: not yet")
	// ErrOldNews is an observe or a report that tells the state nothing new.
	ErrOldNews = errors.New("rollout: nothing new")
	// ErrElectorate is a change of voters that would leave too few, too many, or
	// one twice.
	ErrElectorate = errors.New("rollout: electorate cannot change so")
	// ErrFull is a table at its bound; the text says which, and what to remove.
	ErrFull = errors.New("rollout: no room")
)
