package node

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// roster of op and two robots.
func testRoster() *member.Roster {
	return &member.Roster{Format: 1, Swarm: "orchard-3", Epoch: 3, Members: []member.Member{
		{Index: 0, ID: "op", Role: member.Operator},
		{Index: 1, ID: "r01", Labels: map[string]string{"platform": "linux/arm64", "model": "mk1"}},
		{Index: 2, ID: "r02", Labels: map[string]string{"platform": "linux/arm64", "model": "mk2"}},
	}}
}

func refOf(version string, counter uint64) manifest.Ref {
	return manifest.Ref{Version: version, Counter: counter, Digest: manifest.Sum([]byte(version))}
}

// viewOf is a view with the order that change makes of a quiet one.
func viewOf(index uint64, change func(*order.Order)) *View {
	o := &order.Order{
		Format: 1, Swarm: "orchard-3", Generation: 1, Index: index, Level: 1,
		Electorate: order.Electorate{Version: 1, Voters: []order.Voter{{Member: 1}, {Member: 2}}},
		Components: []order.Component{{Name: "app", Active: refOf("1.0.0", 1)}},
	}
	if change != nil {
		change(o)
	}
	return &View{
		Swarm: "orchard-3", ID: "op", Roster: testRoster(), Order: o, Electorate: &o.Electorate,
		Genesis: &order.Genesis{Reason: "the swarm starts"},
	}
}

func inStage(s order.Status, stage order.Stage, reason string, open ...int) func(*order.Order) {
	return func(o *order.Order) {
		var set member.Set
		for _, i := range open {
			set = set.With(i)
		}
		o.Rollout = &order.Rollout{
			ID: 4, Component: "app", Release: refOf("1.1.0", 2), From: refOf("1.0.0", 1), Status: s, Stage: stage, Batch: 1,
			Open: set, Opened: set, Fetch: set, Reason: reason,
		}
	}
}

func TestHistoryTellsWhatTheSwarmDecides(t *testing.T) {
	none := &View{Swarm: "orchard-3", ID: "op", Roster: testRoster()}
	quiet := viewOf(1, nil)
	running := viewOf(2, inStage(order.Running, order.Canary, "", 1))
	for _, tt := range []struct {
		name     string
		was, now *View
		want     []string
	}{
		{"the first generation", none, quiet, []string{
			"order: generation 1 starts: the swarm starts", "order: app 1.0.0 is active", "order: voters are r01, r02",
		}},
		{"nothing that people see", quiet, viewOf(5, nil), nil},
		{"a rollout starts", quiet, running, []string{"order: rollout 4 of app 1.1.0 is in canary: batch 1, 1 robot, may switch"}},
		{"it is held, and robots have names", running, viewOf(3, inStage(order.Held, order.Canary, "canary failed: robot 2: navigation lost", 1)), []string{
			"order: rollout 4 of app 1.1.0 is held in canary: canary failed: r02: navigation lost",
		}},
		{"it is taken back", running, viewOf(4, func(o *order.Order) {
			inStage(order.Reverted, order.Canary, "")(o)
			o.Quarantine = []manifest.Digest{refOf("1.1.0", 2).Digest}
		}), []string{
			"order: release " + refOf("1.1.0", 2).Digest.Short() + " is quarantined",
			"order: rollout 4 of app 1.1.0 was taken back; 1.0.0 is active",
		}},
		{"it is done", running, viewOf(6, func(o *order.Order) {
			inStage(order.Finished, order.Done, "")(o)
			o.Components[0] = order.Component{Name: "app", Active: refOf("1.1.0", 2), Previous: refOf("1.0.0", 1)}
		}), []string{"order: app 1.1.0 is active, before it 1.0.0", "order: rollout 4 of app 1.1.0 is done"}},
		{"voters change", quiet, viewOf(7, func(o *order.Order) {
			o.Electorate = order.Electorate{Version: 2, Voters: []order.Voter{{Member: 2}}}
		}), []string{"order: voters are r02"}},
		{"the level rises", quiet, viewOf(8, func(o *order.Order) { o.Level = 2 }), []string{"order: the swarm is at feature level 2"}},
		{"a halt, and its end", &View{}, &View{Halted: true, HaltReason: "fire"}, []string{"halt: the swarm is halted: fire"}},
		{"its end", &View{Halted: true}, &View{}, []string{"halt: the halt is over"}},
		{"an alarm", &View{}, &View{Alarm: "two orders"}, []string{"alarm: two certified truths: two orders"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, e := range changes(tt.was, tt.now) {
				got = append(got, e.Kind+": "+e.Text)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestAPastRolloutIsWhatItsLastEventSays(t *testing.T) {
	all := changes(viewOf(1, nil), viewOf(2, inStage(order.Reverted, order.Canary, "")))
	r := all[len(all)-1].rollout()
	require.Equal(t, uint64(4), r.ID)
	require.Equal(t, "reverted", r.Status)
	require.True(t, r.Final)
	require.Equal(t, refOf("1.1.0", 2).Digest, r.Release.Digest)
	require.False(t, Event{Status: "held"}.rollout().Final)
	require.True(t, strings.HasPrefix(r.Text, "rollout 4"))
}
