package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

// A past is what is remembered of one payload beyond its standing.
type past struct {
	slot  update.Slot                  // that holds the committed release
	good  []manifest.Digest            // releases it ever committed
	terms map[manifest.Digest]*tenancy // by release
	// out is the life in which it went out of service, and trying the release; both
	// are zero while it is in service, or if a fault has ended that life since.
	out    *life
	trying manifest.Ref
	begun  time.Duration // when it was last activated or started
	odd    time.Duration // since when it runs what it should not; 0 is not
}

// tenancy is how a payload has fared with one release.
type tenancy struct {
	took bool
	back bool          // it went back from it, and has not taken it since
	from time.Duration // of its commit; 0 is not committed
	held time.Duration // the longest it was committed in earlier terms
}

// longest is how long it has been committed without a break.
func (t *tenancy) longest(now time.Duration) time.Duration {
	if t.from > 0 {
		return max(t.held, now-t.from)
	}
	return t.held
}

func (p *past) term(d manifest.Digest) *tenancy {
	if p.terms == nil {
		p.terms = map[manifest.Digest]*tenancy{}
	}
	if p.terms[d] == nil {
		p.terms[d] = &tenancy{}
	}
	return p.terms[d]
}

// leaves ends the term of what was committed before.
func (p *past) leaves(d manifest.Digest, now time.Duration) {
	if t := p.terms[d]; t != nil && t.from > 0 {
		t.held, t.from = max(t.held, now-t.from), 0
	}
}

// switches is why a robot that switches has no good slot left; empty if it has. intact
// is what is wrong with the bytes of the slot that was committed.
func (p *past) switches(robot string, was standing, into update.Slot, intact error) string {
	switch {
	case was.committed.IsZero():
		return ""
	case into == p.slot:
		return fmt.Sprintf("%s puts a release on trial in slot %s, which holds what it has committed", robot, into)
	case intact != nil:
		return fmt.Sprintf("%s switches, and its good slot %s is not whole: %v", robot, p.slot, intact)
	}
	return ""
}

// returns is why going back to a release is no way back; empty if it is.
func (p *past) returns(robot string, to manifest.Ref) string {
	if slices.Contains(p.good, to.Digest) {
		return ""
	}
	return fmt.Sprintf("%s goes back to %s, which it never committed", robot, to)
}

// boots is why a start after a restart is none in a good slot; empty if it is: what was
// committed, or what is on trial.
func (p *past) boots(robot string, was standing, what manifest.Ref) string {
	onTrial := was.trial && len(was.ran) > 0 && was.ran[len(was.ran)-1] == what.Digest
	if onTrial || slices.Contains(p.good, what.Digest) {
		return ""
	}
	return fmt.Sprintf("%s starts %s, which it never committed", robot, what)
}

// lingers is why a payload should not be as it is any more; empty if it may. on says
// that its machine has been on since at, and deadline how long a trial may take.
func (p *past) lingers(robot string, s standing, now, at, deadline time.Duration) string {
	if s.committed.IsZero() || (!s.trial && (s.running == s.committed || s.running.IsZero())) {
		p.odd = 0
		return ""
	}
	if p.odd == 0 || p.odd < at {
		p.odd = now
		return ""
	}
	if now-p.odd <= deadline {
		return ""
	}
	lasted := now - p.odd
	p.odd = now // told once in a while
	return fmt.Sprintf("%s has run %s for %s without committing it or going back to %s", robot, s.running, lasted, s.committed)
}
