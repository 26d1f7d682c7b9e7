package node

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/starling-swarm/starling/artifacts/store"
)

const (
	// trustSoon is how long before its expiry trust metadata is a warning.
	trustSoon = 14 * 24 * time.Hour
	// lately is how long an event stays a warning.
	lately = time.Hour
)

// warnings are what a person should look at, worst first.
func (n *Node) warnings(v *View, s *Status) []Warning {
	out := []Warning{}
	warn := func(on bool, code, next, format string, args ...any) {
		if on {
			out = append(out, Warning{code, fmt.Sprintf(format, args...), next})
		}
	}
	warn(v.Halted, "halted", "when it is safe: starling halt --clear", "the swarm is halted: %s; nothing starts, and nothing goes back by itself", v.HaltReason)
	warn(v.Alarm != "", "alarm", "the operator must start a new generation", "this robot holds still, for it has seen two certified truths: %s", v.Alarm)
	warn(v.Me() == nil, "revoked", "to come back, join with a new invite in an empty directory: starling join FILE", "the roster no longer has this node in it")
	warn(v.Order == nil, "no_voters", "switch on robots that are off, or let more in: starling invite, then on each starling join FILE; for a smaller swarm: starling begin", "%s", s.Quorum.Text)
	warn(v.Order != nil && !s.Quorum.OK, "no_quorum", noQuorumNext(s), "nothing new can start: %s", s.Quorum.Text)
	warn(v.Order != nil && v.Order.Level > n.level(), "too_old", "update starling on this machine", "the swarm is at feature level %d, this build reads up to %d", levelOf(v), n.level())
	if l := s.FeatureLevel; l != nil {
		warn(len(l.WaitsFor) > 0, "level_waits", "update starling there, and switch on who is off; who is gone for good: starling node revoke NAME", "%s", l.Text)
	}
	for _, e := range n.hostile(v) {
		warn(true, "signed_twice", "look at that machine, and take it out: starling node revoke "+e.Member, "%s; one such voter decides nothing, a second one could", e.Text)
	}
	for _, c := range n.clones.recent() {
		warn(true, "clone", "switch one of them off, delete the key in its state directory and join it again", "two machines run as %s, at %s and %s: a cloned card?", v.nameOf(c.Index), c.HostA, c.HostB)
	}
	if v.Trust != nil {
		left := v.Trust.Expires().Sub(v.now())
		warn(v.Trust.Expired(v.now()), "trust_expired", "on the operator's laptop, sign a release that is listed once more: starling release sign FILE", "the trust metadata has expired: no rollout can be started, and all else goes on")
		warn(left > 0 && left < trustSoon, "trust_expires", "on the operator's laptop, sign a release that is listed once more: starling release sign FILE", "the trust metadata expires in %d days", int(left/(24*time.Hour)))
	}
	n.warnDisk(warn)
	n.warnEvents(warn)
	return out
}

// noQuorumNext is what to do while too few voters are reachable from here.
func noQuorumNext(s *Status) string {
	if s.Members.Alive <= 1 && !s.Self.Operator {
		return "bring this machine within reach of the others; if others see each other and not it, it was revoked: join again with a new invite in an empty directory"
	}
	return "switch on a voter that is off, or bring it within reach; if they are gone for good, the operator must start a new generation"
}

func levelOf(v *View) uint {
	if v.Order == nil {
		return 0
	}
	return v.Order.Level
}

// warnDisk looks at the reserve.
func (n *Node) warnDisk(warn func(on bool, code, next, format string, args ...any)) {
	if n.reserve != nil && n.reserve.Left() < reserveBytes {
		warn(true, "disk_full", "make room on the disk of "+n.cfg.Dir, "the disk was full: %d KiB are left for the log, the record and the halt file", n.reserve.Left()>>10)
	}
	err := store.Admit(n.cfg.Dir, 1, n.cfg.ReserveBytes)
	var full *store.SpaceError
	if errors.As(err, &full) {
		warn(true, "disk_reserve", "make room on the disk of "+n.cfg.Dir, "%d bytes are free and %d are kept in reserve: no release can be fetched", full.Free, full.Reserve)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		warn(true, "disk", "look at the disk of "+n.cfg.Dir, "the free space is not known: %v", err)
	}
}

// warnEvents turns what happened lately into warnings: one for each kind and
// member, with the newest text.
func (n *Node) warnEvents(warn func(on bool, code, next, format string, args ...any)) {
	next := map[string]string{
		"peer-fault":     "look at that machine's node and its log, or: starling node revoke NAME",
		"chunk-rejected": "look at that machine's disk and memory, or: starling node revoke NAME",
		"record-damaged": "look at this machine's disk; what runs was decided from the slots",
		"voting-ended":   "look at the log of this node",
		"not-published":  "do it again: starling ship or starling release sign FILE for a release, starling node for a robot; if it was done already, this passes",
	}
	code := map[string]string{"peer-fault": "peer_fault", "chunk-rejected": "chunks_rejected", "record-damaged": "record_damaged", "voting-ended": "voting_ended", "not-published": "not_published"}
	seen := map[string]bool{}
	all := n.events.since(0)
	for i := len(all) - 1; i >= 0 && time.Since(all[i].Time) < lately; i-- {
		e := all[i]
		if next[e.Kind] == "" || seen[e.Kind+e.Member] {
			continue
		}
		seen[e.Kind+e.Member] = true
		warn(true, code[e.Kind], next[e.Kind], "%s (%s ago)", e.Text, time.Since(e.Time).Round(time.Second))
	}
}
