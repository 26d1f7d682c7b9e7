package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
)

func (c *cli) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the swarm as this machine sees it",
		Long: `Show the swarm as this machine's node sees it: what a person should look at first,
then who is there, who decides, what runs, and what is being rolled out.`,
		Example: `  starling status
  starling status --json
  starling status --watch`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			defer cl.Close()
			if watch {
				return c.watchStatus(cmd.Context(), cl.Watch(cmd.Context()))
			}
			s, err := cl.Status(cmd.Context())
			if err != nil {
				return err
			}
			return c.answer(s, func() { c.sayStatus(s) })
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print one line for each change, until interrupted or --timeout")
	cmd.Annotations = endless
	return cmd
}

// watchStatus prints a line per change.
func (c *cli) watchStatus(ctx context.Context, all func(func(*node.Status, error) bool)) error {
	last := ""
	for s, err := range all {
		if err != nil {
			return err
		}
		if c.json {
			c.printLine(s)
			continue
		}
		if s.Summary != last {
			c.say("%s  %s", s.Time.Local().Format("15:04:05"), s.Summary)
			last = s.Summary
		}
	}
	if ctx.Err() != nil && c.timeout > 0 {
		return nil // as long as was asked for
	}
	return ctx.Err()
}

func (c *cli) sayStatus(s *node.Status) {
	for _, w := range s.Warnings {
		c.say("%s %s", c.paint(yellow, "!"), w.Text)
		if w.Next != "" {
			c.next("%s", w.Next)
		}
	}
	if !s.Joined {
		c.say("%s", s.Text)
		return
	}
	m := s.Members
	rows := [][]string{{"swarm", fmt.Sprintf("%s   %d robots of %d members: %s", s.Swarm, m.Robots, m.Total, memberWords(m))}}
	quorum := "quorum OK"
	if !s.Quorum.OK {
		quorum = "NO QUORUM"
	}
	if len(s.Quorum.Voters) == 0 {
		quorum = "not started"
	}
	rows = append(rows, []string{"voters", fmt.Sprintf("%s: %s%s", quorum, s.Quorum.Text, termWords(s.Quorum.Term))})
	if l := s.FeatureLevel; l != nil && len(l.WaitsFor) == 0 { // else it is a warning
		rows = append(rows, []string{"level", l.Text})
	}
	for _, comp := range s.Components {
		rows = append(rows, []string{"release", fmt.Sprintf("%s %s is active, before it %s", comp.Name, comp.Active, comp.Previous)})
	}
	for _, q := range s.Quarantine {
		rows = append(rows, []string{"", fmt.Sprintf("%s %s is quarantined", q.Component, &q)})
	}
	if r := s.Rollout; r != nil {
		rows = append(rows, []string{"rollout", r.Text}, []string{"", countWords(r.Counts)})
	}
	for _, here := range s.Here {
		text := fmt.Sprintf("%s runs %s, phase %s", here.Name, here.Running, here.Phase)
		if here.Reason != "" && here.Phase != "committed" {
			text += ": " + here.Reason
		}
		rows = append(rows, []string{"here", text})
	}
	rows = append(rows, seedRows(s)...)
	rows = append(rows, transferRows(&s.Transfer)...)
	rows = append(rows, []string{"view of", seenWords(s)})
	c.table(rows)
}

// seedRows say how the images fare that are served from here: of what is active or
// rolling out, and of others only while somebody takes them.
func seedRows(s *node.Status) [][]string {
	wanted := map[manifest.Digest]bool{}
	for _, comp := range s.Components {
		if comp.Active != nil {
			wanted[comp.Active.Digest] = true
		}
	}
	if s.Rollout != nil && !s.Rollout.Final {
		wanted[s.Rollout.Release.Digest] = true
	}
	var rows [][]string
	others := 0
	for _, seed := range s.Seeds {
		if s.Order != nil && seed.Takers == 0 && !wanted[seed.Release.Digest] {
			others++
			continue
		}
		leave := "not all of it is out there yet"
		if seed.SafeToLeave {
			leave = "safe to leave"
		}
		rows = append(rows, []string{"seed", fmt.Sprintf("%s %s (%s, %s) sent %.2f times in the %s since this node was started, %d take it now; %s",
			seed.Release.Component, &seed.Release, seed.Variant, bytesWords(seed.Bytes), seed.SentRatio, age(int64(s.Time.Sub(seed.Since).Seconds())), seed.Takers, leave)})
	}
	if others > 0 {
		rows = append(rows, []string{"", fmt.Sprintf("%d more that nobody takes now: starling status --json", others)})
	}
	return rows
}

func memberWords(m node.MemberCounts) string {
	words := []string{fmt.Sprintf("%d alive", m.Alive)}
	for _, w := range []struct {
		n    int
		name string
	}{{m.Suspect, "suspect"}, {m.Dead, "dead"}, {m.Left, "switched off"}, {m.Unheard, "not heard yet"}} {
		if w.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", w.n, w.name))
		}
	}
	return strings.Join(words, ", ")
}

func termWords(term uint64) string {
	if term == 0 {
		return ""
	}
	return fmt.Sprintf(" (term %d)", term)
}

// countWords says how far robots are, who says so, and how old that is.
func countWords(n *node.RolloutCounts) string {
	if n == nil {
		return ""
	}
	text := fmt.Sprintf("%d of %d robots run it", n.Committed, n.Robots)
	for _, w := range []struct {
		n    int
		name string
	}{{n.Switching, "switch"}, {n.Fetching, "fetch"}, {n.Failed, "failed"}, {n.Deferred, "are deferred"}} {
		if w.n > 0 {
			text += fmt.Sprintf(", %d %s", w.n, w.name)
		}
	}
	return text + fmt.Sprintf("; as seen by %s, which hears %d, the oldest %s ago", n.SeenBy, n.Heard, age(n.OldestSeconds))
}

func seenWords(s *node.Status) string {
	text := string(s.Self.ID)
	if s.Order != nil {
		text += fmt.Sprintf(", by order %d/%d of %s ago", s.Order.Generation, s.Order.Index, age(s.Order.AgeSeconds))
	}
	return text
}
