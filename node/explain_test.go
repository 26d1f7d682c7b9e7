package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// Why a robot does or does not move, the strongest reason first.
func TestExplainNode(t *testing.T) {
	old, new := refOf("1.0.0", 1), refOf("1.1.0", 2)
	runs := func(phase, result, reason string, progress uint16) []ReportView {
		return []ReportView{{
			Component: "app", Running: nameRef("app", old), Release: nameRef("app", new), Phase: phase, Result: result, Reason: reason, Progress: progress,
		}}
	}
	canary := viewOf(2, inStage(order.Running, order.Canary, "", 1))
	robot := NodeView{ID: "r01", Index: 1, Role: "robot", State: "alive"}
	for _, tt := range []struct {
		name   string
		v      *View
		change func(w *NodeView)
		code   string
		text   string
	}{
		{"revoked", canary, func(w *NodeView) { w.Revoked = true }, "revoked", "r01 is revoked: nobody talks to it"},
		{"a base node", canary, func(w *NodeView) { w.Role = "base" }, "no_payload", "r01 is a base node and runs no payload"},
		{"halted", &View{ID: "op", Roster: testRoster(), Order: canary.Order, Halted: true, HaltReason: "fire"}, nil, "halted", "r01 is halted: fire"},
		{"off", canary, func(w *NodeView) { w.State, w.SinceSeconds = "left", 90 }, "off", "r01 said goodbye 1m30s ago"},
		{"away", canary, func(w *NodeView) { w.State, w.SinceSeconds = "dead", 90 }, "out_of_reach", "r01 is out of reach from op since 1m30s"},
		{"never heard", canary, func(w *NodeView) { w.State = "unheard" }, "out_of_reach", "r01 is out of reach from op"},
		{"too old", canary, func(w *NodeView) { w.TooOld = true }, "too_old", "r01 cannot read feature level 1 and keeps what it runs"},
		{"no reports here", canary, nil, "unknown", "op hears no reports of r01; by the order it should: is in the open batch"},
		{"failed", canary, func(w *NodeView) { w.Reports = runs("reverted", "failed", "probe nav: lost", 0) }, "failed", "r01 failed with 1.1.0 and runs 1.0.0: probe nav: lost"},
		{"on trial", canary, func(w *NodeView) { w.Reports = runs("trial", "unknown", "", 1000) }, "trial", "r01 runs 1.1.0 on trial"},
		{"held", canary, func(w *NodeView) { w.Held, w.Reports = true, runs("staged", "unknown", "", 1000) }, "gate_closed", "r01 does not switch to 1.1.0: its gate is closed by the application"},
		{"deferred", canary, func(w *NodeView) { w.Reports = runs("idle", "deferred", "disk full", 0) }, "deferred", "r01 is deferred: disk full"},
		{"fetching", canary, func(w *NodeView) { w.Reports = runs("fetching", "unknown", "", 614) }, "fetching", "r01 fetches 1.1.0: 61.4 %"},
		{"armed", canary, func(w *NodeView) { w.Reports = runs("armed", "unknown", "no voter", 0) }, "armed", "r01 asks for the word to switch to 1.1.0: no voter"},
		{"its turn", canary, func(w *NodeView) { w.Reports = runs("staged", "unknown", "", 0) }, "moving", "r01 is to run 1.1.0 (is in the open batch), and is at phase staged"},
		{"held rollout", viewOf(3, inStage(order.Held, order.Canary, "robot 2 failed", 1)), func(w *NodeView) { w.Reports = runs("staged", "unknown", "", 0) }, "batch_not_open", "r01 has 1.1.0 at phase staged: the rollout is held: r02 failed"},
		{"all is well", viewOf(1, nil), func(w *NodeView) { w.Reports = runs("idle", "good", "", 0) }, "stays", "r01 runs 1.0.0, which is active"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &Node{dir: dir(t.TempDir())}
			n.docs = docs{n.dir.path("docs")}
			w := robot
			if tt.change != nil {
				tt.change(&w)
			}
			x := &Explanation{SeenBy: tt.v.ID}
			n.explainNode(tt.v, &w, x)
			require.Equal(t, tt.code, x.Code)
			require.Equal(t, tt.text, x.Text)
			require.NotEmpty(t, x.Next)
		})
	}
}

func TestNextIsSaidForEveryStatus(t *testing.T) {
	for s := order.Running; s <= order.Superseded; s++ {
		require.NotEmpty(t, nextOf(&order.Rollout{ID: 4, Status: s, Stage: order.Wave}), s.String())
	}
	require.Contains(t, nextOf(&order.Rollout{Status: order.Running, Stage: order.Sim}), "report sign --stage sim")
	o := &order.Order{Components: []order.Component{{Name: "app", Active: refOf("1.1.0", 2), Previous: refOf("1.0.0", 1)}}, Rollout: &order.Rollout{Component: "app", Status: order.Reverted}}
	require.Equal(t, "; to take back 1.1.0 as well: starling rollback --to 1.0.0", further(o))
	o.Components[0].Previous = manifest.Ref{}
	require.Empty(t, further(o))
}

func TestCountsSayWhoWasHeard(t *testing.T) {
	v := viewOf(2, inStage(order.Running, order.Canary, "", 1, 2))
	n := &Node{health: newHealthTable()}
	say := func(i member.Index, phase member.Phase, result member.Result, running bool) {
		h := &member.Health{Format: 1, Robot: i, Sequence: uint64(phase) + 1, Component: "app", Release: v.Order.Rollout.Release.Digest, Phase: phase, Result: result}
		if running {
			h.Running = h.Release
		}
		n.health.merge(h, nil)
	}
	require.Equal(t, RolloutCounts{SeenBy: "op", Robots: 2, Opened: 2, Open: 2}, *n.countRollout(v, v.Order.Rollout))
	say(1, member.Fetching, member.Unknown, false)
	say(2, member.Trial, member.Unknown, true)
	c := n.countRollout(v, v.Order.Rollout)
	require.Equal(t, []int{2, 1, 1, 0, 0}, []int{c.Heard, c.Fetching, c.Switching, c.Committed, c.Failed})
	say(1, member.Committed, member.Good, true)
	say(2, member.Reverted, member.Failed, false)
	c = n.countRollout(v, v.Order.Rollout)
	require.Equal(t, []int{2, 0, 0, 1, 1}, []int{c.Heard, c.Fetching, c.Switching, c.Committed, c.Failed})
}
