package update

import (
	"fmt"
	"time"

	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// MaxRetries is how often a robot with nothing to go back to tries the active
	// release again after it failed here.
	MaxRetries = 8
	// firstRetry is the wait before the first of them; each next one is four times
	// as long, up to maxRetry.
	firstRetry = time.Minute
	maxRetry   = time.Hour
	// retriesOver is Record.Retries after a person has sent the release away.
	retriesOver = 255
)

// A robot that never committed anything has nothing to run when its first install
// fails: it stays down until a later rollout names it. What failed may have been
// this robot's (a camera that was unplugged, a disk that was full), and while the
// release is active the swarm runs it and trusts it. So the robot tries it again,
// later and later, a bounded number of times over all restarts. A rollout's own
// release is not tried again: there a failure must count. Nor is a quarantined one,
// which is not wanted at all.

// retries reports whether the failed release w may be tried again now, and if not,
// sees to it that it is at the time.
func (u *Updater) retries(w *Wanted) bool {
	if u.rec.HasCommitted || w.Kind != CatchUp || u.rec.Retries >= MaxRetries || w.Release.Digest != u.rec.Target.Digest {
		u.retryAt = noTime
		return false
	}
	if u.retryAt.IsZero() { // after a restart it begins anew: no clock tells how long it was off
		u.retryAt = u.now.Add(retryDelay(u.rec.Retries))
	}
	if u.now.Before(u.retryAt) {
		return false
	}
	u.retryAt = noTime
	u.rec.Retries++
	u.rec.Attempts, u.rec.Transitions = MaxAttempts, 0
	return true
}

// retryDelay is the wait after so many tries.
func retryDelay(tries uint8) time.Duration {
	return min(firstRetry<<(2*min(tries, 8)), maxRetry)
}

// retryReason says in a status what comes of a failed first install.
func (u *Updater) retryReason(s *Status) {
	switch {
	case u.rec.HasCommitted:
	case !u.retryAt.IsZero():
		s.Reason = clip(fmt.Sprintf("retry %d/%d in %s: %s", u.rec.Retries+1, MaxRetries, minutes(retryDelay(u.rec.Retries)), s.Reason))
	case u.rec.Retries == MaxRetries && u.rec.Phase == member.Reverted && u.rec.Result == member.Failed:
		s.Reason = clip(fmt.Sprintf("no retry after %d: %s", MaxRetries, s.Reason))
	}
}

// minutes is "4m".
func minutes(d time.Duration) string { return fmt.Sprintf("%dm", d/time.Minute) }
