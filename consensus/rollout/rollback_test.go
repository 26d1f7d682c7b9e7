package rollout

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

func (g *rig) rollback(rollout uint64, to manifest.Ref) error {
	return g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbRollback, Rollout: rollout, To: to, Reason: "wind"})})
}

// installed carries a release of a component to its end.
func (g *rig) installed(component, version string, counter uint64, change ...func(*manifest.Release)) manifest.Ref {
	rel := g.release(version, counter, append(change, func(r *manifest.Release) { r.Component = component })...)
	g.plan.Component = component
	require.NoError(g.t, g.apply(g.startOf(version)))
	g.finish()
	return rel.Ref()
}

// A rollback that names a release is about the component that could go back to it,
// also after another component's rollout; robots of that component go back.
func TestRollbackAfterAnotherComponentsRollout(t *testing.T) {
	g := newRig(t, 5, 1, 1)
	one := g.installed("app", "1.0.0", 1)
	two := g.installed("app", "1.1.0", 2, func(r *manifest.Release) { r.Fallbacks = []manifest.Ref{one} })
	nav := g.installed("nav", "7.0.0", 1)
	require.ErrorIs(t, g.rollback(2, one), ErrNoRollout, "the word was given when another rollout was the last")
	require.ErrorIs(t, g.rollback(3, manifest.Ref{Version: "1.0.0", Counter: 1}), ErrForbidden, "another release of that name")
	require.NoError(t, g.rollback(3, one))

	o := g.state.Order()
	require.Equal(t, order.Finished, o.Rollout.Status)
	require.Equal(t, "nav 7.0.0", o.Rollout.Component+" "+o.Rollout.Release.Version)
	require.Contains(t, Explain(o), "app 1.1.0 was rolled back by the operator: wind")
	require.Equal(t, nav, o.Component("nav").Active)
	require.Equal(t, one, o.Component("app").Active)
	require.True(t, o.Quarantined(two.Digest))
	require.Empty(t, g.state.Fallbacks)
	back := TargetOf(o, 0, "app", two.Digest)
	require.Equal(t, []any{GoingBack, MayArm, one}, []any{back.Cause, back.May, back.Release})
	require.Equal(t, Stay, TargetOf(o, 0, "nav", nav.Digest).Cause)
	require.NoError(t, g.rollback(3, one), "it is so already")
	require.ErrorIs(t, g.rollback(3, two), ErrForbidden)
}

// A new generation knows no rollout, but what was active before.
func TestRollbackInANewGeneration(t *testing.T) {
	g := newRig(t, 5, 1, 1)
	one, two := g.installed("app", "1.0.0", 1), g.installed("app", "1.1.0", 2)
	gen := g.genesis(1)
	gen.Order.Components, gen.Order.Rollouts = g.state.Components, g.state.Rollouts
	gen.Order.Generation, g.state.Generation = 2, 2
	g.state = NewState(gen, gen.Seal().Digest(), g.state.TrustRoot)
	require.ErrorIs(t, g.rollback(2, manifest.Ref{}), ErrNoRollout)
	require.ErrorIs(t, g.apply(&Decision{Kind: KindIntent, Intent: g.intent(Intent{Verb: VerbPause, Rollout: 2})}), ErrNoRollout)
	require.NoError(t, g.rollback(2, one))
	require.Equal(t, one, g.state.component("app").Active)
	require.Equal(t, []manifest.Digest{two.Digest}, g.state.Quarantine)
}

// A rollout whose plan is over may still have its release on robots: it is taken
// back first.
func TestRollbackOfWhatIsActiveWaitsForAnExpiredRollout(t *testing.T) {
	g := newRig(t, 5, 1, 1)
	one := g.installed("app", "1.0.0", 1)
	two := g.installed("app", "1.1.0", 2)
	g.release("1.2.0", 3)
	g.plan.Expires = g.now + 3600
	require.NoError(t, g.apply(g.startOf("1.2.0")))
	require.NoError(t, g.advance())
	g.pass(2 * 3600)
	require.Equal(t, order.Expired, g.state.Rollout.Status)
	require.ErrorIs(t, g.rollback(3, one), ErrForbidden)
	require.NoError(t, g.rollback(3, two))
	for g.state.Rollout.Status != order.Reverted {
		g.pass(300)
		_ = g.advance()
	}
	require.NoError(t, g.rollback(3, one))
	require.Equal(t, one, g.state.component("app").Active)
}
