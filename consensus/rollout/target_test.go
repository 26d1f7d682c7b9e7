package rollout

import (
	"fmt"
	"testing"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

func ref(version string, counter uint64) manifest.Ref {
	return manifest.Ref{Version: version, Counter: counter, Digest: manifest.Sum([]byte(version))}
}

func TestTargetOf(t *testing.T) {
	v1, v2, v0 := ref("1", 1), ref("2", 2), ref("0", 0)
	var nothing manifest.Ref
	// Member 1 is in the open batch, 2 was in an earlier one, 3 may fetch, 4 nothing.
	rolling := func(st order.Status) *order.Rollout {
		return &order.Rollout{ID: 1, Component: "app", Release: v2, From: v1, Status: st, Stage: order.Canary,
			Open: setOf(1), Opened: setOf(1, 2), Fetch: setOf(1, 2, 3)}
	}
	cases := []struct {
		name       string
		r          *order.Rollout
		active     manifest.Ref
		quarantine []manifest.Ref
		me         member.Index
		running    manifest.Ref
		want       Target
	}{
		{"no rollout, runs what is active", nil, v1, nil, 1, v1, Target{}},
		{"no rollout, behind", nil, v1, nil, 1, v0, Target{CatchingUp, v1, MayArm, ""}},
		{"no rollout, new robot", nil, v1, nil, 1, nothing, Target{CatchingUp, v1, MayArm, ""}},
		{"nothing is active", nil, nothing, nil, 1, nothing, Target{}},
		{"running, in the open batch", rolling(order.Running), v1, nil, 1, v1, Target{InRollout, v2, MayArm, ""}},
		{"running, its batch is over", rolling(order.Running), v1, nil, 2, v1, Target{InRollout, v2, MayFetch, ""}},
		{"running, may fetch", rolling(order.Running), v1, nil, 3, v1, Target{InRollout, v2, MayFetch, ""}},
		{"running, not its turn", rolling(order.Running), v1, nil, 4, v1, Target{}},
		{"running, has it", rolling(order.Running), v1, nil, 2, v2, Target{}},
		{"running, has it out of turn", rolling(order.Running), v1, nil, 4, v2, Target{}},
		{"running, behind and not its turn", rolling(order.Running), v1, nil, 3, v0, Target{CatchingUp, v1, MayArm, ""}},
		{"held, in the open batch", rolling(order.Held), v1, nil, 1, v1, Target{InRollout, v2, MayFetch, ""}},
		{"held, has it", rolling(order.Held), v1, nil, 1, v2, Target{}},
		{"held, may fetch", rolling(order.Held), v1, nil, 3, v1, Target{InRollout, v2, MayFetch, ""}},
		{"reverting, has it", rolling(order.RollingOff), v1, []manifest.Ref{v2}, 2, v2, Target{GoingBack, v1, MayArm, ""}},
		{"reverting, has it, not quarantined", rolling(order.RollingOff), v1, nil, 2, v2, Target{GoingBack, v1, MayArm, ""}},
		{"reverting, back", rolling(order.RollingOff), v1, []manifest.Ref{v2}, 2, v1, Target{}},
		{"reverting, behind", rolling(order.RollingOff), v1, []manifest.Ref{v2}, 4, v0, Target{CatchingUp, v1, MayFetch, ""}},
		{"reverted, comes home with it", rolling(order.Reverted), v1, []manifest.Ref{v2}, 2, v2, Target{GoingBack, v1, MayArm, ""}},
		{"reverted, nothing ran before", rolling(order.Reverted), nothing, []manifest.Ref{v2}, 2, v2, Target{GoingBack, nothing, MayArm, ""}},
		{"done, has it", rolling(order.Finished), v2, nil, 2, v2, Target{}},
		{"done, missed it", rolling(order.Finished), v2, nil, 4, v1, Target{CatchingUp, v2, MayArm, ""}},
		{"expired, has it", rolling(order.Expired), v1, nil, 2, v2, Target{}},
		{"expired, does not have it", rolling(order.Expired), v1, nil, 1, v1, Target{}},
		{"another component's rollout", &order.Rollout{Component: "maps", Release: v2, From: v1, Open: setOf(1)}, v1, nil, 1, v1, Target{}},
		{"quarantined long ago", nil, v1, []manifest.Ref{v0}, 1, v0, Target{GoingBack, v1, MayArm, ""}},
		{"quarantined and active", nil, v1, []manifest.Ref{v1}, 1, v1, Target{}},
		{"what is active is quarantined", nil, v1, []manifest.Ref{v1}, 1, v0, Target{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := &order.Order{Components: []order.Component{{Name: "app", Active: c.active}}, Rollout: c.r}
			for _, q := range c.quarantine {
				o.Quarantine = append(o.Quarantine, q.Digest)
			}
			got := TargetOf(o, c.me, "app", c.running.Digest)
			require.NotEmpty(t, got.Reason)
			got.Reason = ""
			require.Equal(t, c.want, got)
			require.Equal(t, Target{}.Release, TargetOf(o, c.me, "other", c.running.Digest).Release)
		})
	}
}

// TestTargetNever walks all orders of a small world for what must never be: a robot
// that is not in an open batch of a running rollout arms to its release; a robot is
// sent to a quarantined release; a robot that runs a barred one may not go back.
func TestTargetNever(t *testing.T) {
	refs := []manifest.Ref{{}, ref("0", 0), ref("1", 1), ref("2", 2)}
	for st := order.Running; st <= order.Superseded; st++ {
		for sets := range 8 {
			for _, active := range refs[1:3] {
				for _, running := range refs {
					for barred := range refs {
						r := &order.Rollout{Component: "app", Release: refs[3], From: refs[2], Status: st}
						for bit, s := range []*member.Set{&r.Open, &r.Opened, &r.Fetch} {
							if sets&(1<<bit) != 0 {
								*s = setOf(5)
							}
						}
						o := &order.Order{Components: []order.Component{{Name: "app", Active: active}}, Rollout: r}
						if barred > 0 {
							o.Quarantine = []manifest.Digest{refs[barred].Digest}
						}
						got := TargetOf(o, 5, "app", running.Digest)
						what := fmt.Sprintf("%s open=%v active=%s running=%s barred=%s: %+v", st, r.Open.All(), active, running, refs[barred], got)
						if got.May == MayArm && got.Release == refs[3] {
							require.True(t, st == order.Running && r.Open.Has(5), what)
						}
						require.False(t, got.Cause == CatchingUp && barred > 0 && got.Release == refs[barred], what)
						if o.Quarantined(running.Digest) && active != running {
							require.Equal(t, GoingBack, got.Cause, what)
							require.Equal(t, MayArm, got.May, what)
						}
						require.True(t, got.Cause == Stay || got.Release.Digest != running.Digest, what)
						require.True(t, got.Cause != Stay || got.Release.IsZero() && got.May == MayNothing, what)
					}
				}
			}
		}
	}
}
