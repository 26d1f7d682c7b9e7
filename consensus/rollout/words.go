package rollout

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// plain makes foreign words fit one line of a terminal: no control characters, and
// nothing that is not UTF-8.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}

// clip shortens s to order.MaxReasonBytes, at the end of a character.
func clip(s string) string {
	s = plain(s)
	if len(s) <= order.MaxReasonBytes {
		return s
	}
	n := order.MaxReasonBytes - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// because joins a fact and somebody's reason for it, if they gave one.
func because(fact, reason string) string {
	if reason == "" {
		return fact
	}
	return fact + ": " + reason
}

// robots names robots by index, the first few of many: "robot 3", "robots 1, 2 and
// 4 more". Who knows the roster puts names in their places (see Named).
func robots(set member.Set) string {
	list := set.All()
	switch n := len(list); {
	case n == 0:
		return "no robot"
	case n == 1:
		return fmt.Sprintf("robot %d", list[0])
	case n <= 4:
		words := make([]string, n)
		for i, r := range list {
			words[i] = fmt.Sprintf("robot %d", r)
		}
		return strings.Join(words, ", ")
	default:
		return fmt.Sprintf("robot %d, robot %d and %d more", list[0], list[1], n-2)
	}
}

// failure is the sentence that says why a gate failed.
func (s *State) failure(g gate, bad member.Set) string {
	why := fmt.Sprintf("%s failed: %d of %d robots failed (limit %d)", g.name, bad.Count(), g.cohort.Count(), g.Limit(g.cohort.Count()))
	for _, i := range members(bad) {
		at, found := s.Rollout.record(i)
		if !found {
			continue
		}
		if rec := &s.Rollout.Records[at]; rec.Result == member.Failed && rec.Reason != "" {
			return fmt.Sprintf("%s: robot %d: %s", why, i, rec.Reason)
		}
	}
	if silent := s.those(bad, lost); len(silent) > 0 {
		return fmt.Sprintf("%s: %s: silent since it armed", why, robots(silent))
	}
	return why
}
