package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// The events that a Condition can wait for, besides the phases of a robot, from
// fetching to reverted. Those of a release take its name. A phase is reached when any robot reaches it, a stage when the swarm opens it.
const (
	Joined        = "joined"         // every robot that is not late runs the first releases
	HasLeader     = "leader"         // somebody leads
	Halted        = "halted"         // a halt token is out
	Published     = "published"      // the release is in the trust documents
	SafeToLeave   = "safe-to-leave"  // every piece is out: the operator is not needed
	Started       = "started"        // the swarm has decided the rollout
	Canary        = "canary"         // its canary stage is open
	Wave          = "wave"           // its first wave is open
	Soak          = "soak"           // its last stage, watching all robots, is open
	Held          = "held"           // the rollout waits for a person
	Done          = "done"           // the rollout is over, and went well
	Expired       = "expired"        // the plan ran out
	Aborted       = "aborted"        // the rollout was taken back for good
	Reverted      = "rolled-back"    // the rollout went back
	InQuarantine  = "in-quarantine"  // the release may not go out again
	VotersChanged = "voters-changed" // the electorate is another than at the start
)

// plainEvents take no release, releaseEvents need one.
var (
	plainEvents   = []string{Joined, HasLeader, Halted, VotersChanged}
	releaseEvents = append([]string{Published, SafeToLeave, Started, Canary, Wave, Soak, Held, Done, Expired, Aborted, Reverted, InQuarantine}, robotPhases...)
)

// robotPhases are the phases of one robot, in the swarm's words.
var robotPhases = []string{"fetching", "fetched", "staging", "staged", "armed", "trial", "committed", "reverting", "reverted"}

// A Condition is something that comes true during a run, and a while after it.
type Condition struct {
	Event   string
	Release Ref // of an event that takes one
	Delay   time.Duration
}

// UnmarshalText reads "joined", "done 1.1" or "trial 1.1 + 5s".
func (c *Condition) UnmarshalText(text []byte) error {
	*c = Condition{}
	event, delay, late := strings.Cut(string(text), " + ")
	if late {
		d, err := strict.ParseDuration(strings.TrimSpace(delay))
		if err != nil || d < 0 {
			return fmt.Errorf("after +, %q is no time: write 5s", strings.TrimSpace(delay))
		}
		c.Delay = d
	}
	words := strings.Fields(event)
	if len(words) == 0 || len(words) > 2 {
		return fmt.Errorf("%q is no condition: write joined, done 1.1 or trial 1.1 + 5s", text)
	}
	c.Event = words[0]
	if len(words) == 2 {
		c.Release = Ref(words[1])
	}
	return c.Check()
}

// Check reports a condition that can never come true.
func (c Condition) Check() error {
	alone, ofRelease := slices.Contains(plainEvents, c.Event), slices.Contains(releaseEvents, c.Event)
	switch {
	case !alone && !ofRelease:
		return fmt.Errorf("no event %q; there is %s, and of a release %s", c.Event, strings.Join(plainEvents, ", "), strings.Join(releaseEvents, ", "))
	case alone && c.Release != "":
		return fmt.Errorf("event %q takes no release", c.Event)
	case ofRelease && c.Release == "":
		return fmt.Errorf("event %q of which release? write %s 1.1", c.Event, c.Event)
	case c.Delay < 0:
		return fmt.Errorf("a condition looks forward: delay %s", c.Delay)
	}
	return nil
}

// String undoes UnmarshalText.
func (c Condition) String() string {
	s := c.Event
	if c.Release != "" {
		s += " " + string(c.Release)
	}
	if c.Delay != 0 {
		s += " + " + strict.FormatDuration(c.Delay)
	}
	return s
}

// MarshalText is String.
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
