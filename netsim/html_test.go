package netsim

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/scenario"
)

func pageOf(t *testing.T, reports ...*Report) string {
	var b bytes.Buffer
	require.NoError(t, HTML(&b, &scenario.Scenario{Name: "orchard", About: "An orchard."}, reports))
	require.True(t, utf8.Valid(b.Bytes()))
	return b.String()
}

func TestPageShowsEverything(t *testing.T) {
	page := pageOf(t, told())
	for _, want := range []string{
		"It went wrong", "enough-in-service", "cart-2", "activates 1.1", "active 1.1: cart-4 runs 1.0", "netsim run orchard --seed 7 -v",
		"radio saturated", "◆ cart-1", "cart-3 back at 99.0 s: went back to 1.0", "it is off", "cart-3 runs 1.1 on trial", "cart-2 leads from 1m50s",
		"base-1 votes from", "partition [cart-1], 50.0 s to 80.0 s", "cart-1 sees alive", "97.0 %", "map at 5.0 s", "2.50 ×", "unchecked",
	} {
		require.True(t, strings.Contains(page, want), want) // the page itself is too long to show
	}
	require.False(t, strings.Contains(page, "95 % confidence"))
}

func TestPageOfASeries(t *testing.T) {
	good := told()
	good.Seed, good.Violations, good.Unmet = 8, nil, nil
	good.Completion[1].Last = ptr(80.0)
	page := pageOf(t, good, told(), &Report{Scenario: "orchard", Seed: 9, Died: "seed 9: exit status 2"})
	for _, want := range []string{"2 of 3 runs went wrong", "95 % confidence at most", "seed 8: 50.0 s", "<td class=\"n\">9</td>", "the run died: seed 9", "Seed 7 in detail"} {
		require.True(t, strings.Contains(page, want), want) // the page itself is too long to show
	}
	require.True(t, strings.Contains(pageOf(t, &Report{Seed: 1, Died: "x"}), "went wrong"), "even if there is nothing else to show")
}

// The page stands alone: it asks no network for anything.
func TestPageFetchesNothing(t *testing.T) {
	page := pageOf(t, told())
	require.Empty(t, regexp.MustCompile(`(?i)https?://`).FindString(page))
	require.Empty(t, regexp.MustCompile(`(?i)<(script|link|img|iframe|object|embed)\b`).FindString(page))
	require.Empty(t, regexp.MustCompile(`(?i)@import|url\(|\bsrc=|\bhref=`).FindString(page))
}

// Names and texts of a scenario are shown as they are, and do nothing.
func TestPageEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><a href="x` + "\x00\xff"
	r := told()
	r.Scenario, r.Replay = evil, evil
	r.Rollouts[0].Reason, r.Rollouts[0].Canaries[0], r.Rollouts[0].Release = evil, evil, evil
	r.Rollouts[0].Steps[1].Reason, r.Faults[0].Text, r.Leaders[0].Leader, r.Voters[0].Voters[0] = evil, evil, evil, evil
	r.Machines[0].Name, r.Machines[2].Name, r.Behind[0].Says, r.Violations[0].Trace[0].Text, r.Hints[0], r.Unmet[0] = evil, evil, evil, evil, evil, evil
	r.Samples[0].Seen[evil], r.Completion[0].Release, r.Cells[0].Radio, r.Digest = 3, evil, evil, evil
	r.Switches = append(r.Switches, Switch{120, evil, evil, Activated})
	page := pageOf(t, r, told())
	require.False(t, strings.Contains(page, "<script"))
	require.False(t, strings.Contains(page, "<a "))
	require.Greater(t, strings.Count(page, "&lt;script"), 10)
}

// Every drawing is well-formed, and no number in it is none.
func TestDrawingsAreWellFormed(t *testing.T) {
	empty := &Report{Virtual: 0, Rollouts: []RolloutResult{{}}}
	page := pageOf(t, told(), empty) + pageOf(t, empty)
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	require.Greater(t, len(drawings), 10)
	for _, d := range drawings {
		require.NotRegexp(t, `NaN|Inf|width="-|r="-`, d)
		for dec := xml.NewDecoder(strings.NewReader(d)); ; {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else {
				require.NoError(t, err, d)
			}
		}
	}
}
