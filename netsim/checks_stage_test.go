package netsim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

func TestUnearned(t *testing.T) {
	gate := rollout.Gate{MaxFailures: 1, SoakSeconds: 10, ExposureSeconds: 25}
	well := turn{robot: "a", held: 15 * time.Second, took: true, here: true}
	with := func(change func(x *turn)) turn { x := well; change(&x); return x }
	for name, c := range map[string]struct {
		turns []turn
		want  string
	}{
		"all well":                    {[]turn{well, well}, ""},
		"one deferred":                {[]turn{well, well, {robot: "d", here: true}}, ""},
		"one failed":                  {[]turn{well, well, {robot: "f", took: true, back: true, here: true}}, ""},
		"two failed":                  {[]turn{well, well, {took: true, back: true, here: true}, {took: true, back: true, here: true}}, "2 of 4 robots did not keep"},
		"went back after its soak":    {[]turn{well, with(func(x *turn) { x.back = true })}, ""},
		"one too short":               {[]turn{well, with(func(x *turn) { x.held = 9 * time.Second })}, "committed for 9s of 10s"},
		"one has just committed":      {[]turn{well, well, with(func(x *turn) { x.held = 4 * time.Second })}, ""},
		"two have just committed":     {[]turn{well, well, with(func(x *turn) { x.held = 1 }), with(func(x *turn) { x.held = 1 })}, "2 of 4 robots did not keep"},
		"one too short, but off":      {[]turn{well, well, with(func(x *turn) { x.held, x.here = 9*time.Second, false })}, ""},
		"too little exposure":         {[]turn{with(func(x *turn) { x.held = 24 * time.Second })}, "24s of 25 s"},
		"two still on trial":          {[]turn{well, well, {took: true, here: true}, {took: true, here: true}}, "2 of 4 robots did not keep"},
		"nobody kept it, all are off": {[]turn{{took: true}, {took: true}}, "2 of 2 robots did not keep"},
	} {
		t.Run(name, func(t *testing.T) {
			got := unearned(gate, len(c.turns), c.turns)
			if c.want == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, c.want)
		})
	}
}

func TestTooMany(t *testing.T) {
	p := &shipped{
		plan: &rollout.Plan{BatchPermille: 250, Floors: []rollout.Floor{{Label: "role", Value: "relay", MinAvailable: 2}}},
		fits: setOf(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), floors: []member.Set{setOf(0, 1, 2)},
	}
	require.Equal(t, 3, p.batchLimit())
	require.Empty(t, p.tooMany(setOf(3, 4, 5)))
	require.Equal(t, "4 robots are out of service, the plan allows 3", p.tooMany(setOf(3, 4, 5, 6)))
	require.Empty(t, p.tooMany(setOf(0)))
	require.Equal(t, "1 robots with role=relay are in service, the plan wants 2", p.tooMany(setOf(0, 1)))
	p.plan.BatchMax = 1
	require.Equal(t, 1, p.batchLimit())
	p.plan.BatchMax, p.plan.BatchPermille = 0, 1
	require.Equal(t, 1, p.batchLimit(), "one may always go")
}

func TestFewVoters(t *testing.T) {
	four, one := electorateOf(1, 0, 1, 2, 3), electorateOf(1, 0)
	require.Empty(t, fewVoters(&four, setOf(0, 8, 9)))
	require.Equal(t, "2 of 4 voters switch at once, 3 must stay", fewVoters(&four, setOf(0, 1)))
	require.Empty(t, fewVoters(&one, setOf(0)), "a swarm with one voter updates it too")
}

// The twin and the product agree on many rosters, and a robot from elsewhere is seen.
func TestCohorts(t *testing.T) {
	rel := &manifest.Release{Component: "app", Version: "1.1", Counter: 2, Variants: []manifest.Variant{
		{Name: "a", Match: map[string]string{"model": "a"}}, {Name: "b", Match: map[string]string{"model": "b"}},
	}}
	for n := 3; n < 40; n += 3 {
		r := &member.Roster{Format: 1, Swarm: "s", Epoch: 1}
		for i := range n {
			labels := map[string]string{"model": string(rune('a' + i*i%3))} // "c" has no variant
			if i%11 == 10 {
				labels["role"] = "hil"
			}
			r.Members = append(r.Members, member.Member{Index: member.Index(i), ID: member.ID(rune('a' + i)), Labels: labels, Key: [32]byte{byte(i + 1)}, Revoked: i%13 == 12})
		}
		p := rollout.DefaultPlan()
		p.Swarm, p.Release, p.From, p.Expires = "s", fresh, old, 1<<32
		p.CanaryPermille, p.Seed[0], p.HIL = uint16(n*10), byte(n), true
		e := electorateOf(1, 0, 1, 2)
		x, err := rollout.NewExtract(&p, rel, r, order.RosterRef{Epoch: 1}, manifest.Digest{})
		require.NoError(t, err)
		want, err := rollout.NewPreview(&p, x, e)
		require.NoError(t, err)

		got := draft(&p, applicants(&p, p.Seal().Digest(), rel, r, e.Has))
		for _, s := range want.Stages {
			switch s.Stage {
			case order.Canary:
				require.Equal(t, s.Robots.All(), got[0].All(), "canaries of %d", n)
			case order.Wave:
				require.Equal(t, s.Robots.All(), got[s.Wave].All(), "wave %d of %d", s.Wave, n)
			}
		}
		canary := &order.Rollout{ID: 1, Stage: order.Canary, Opened: got[0]}
		require.Empty(t, strays(canary, got))
		later := setOf(n + 1) // somebody who is not there, if the canaries are all there are
		for _, wave := range got[1:] {
			later = later.Union(wave)
		}
		canary.Opened = got[0].Clone().With(later.All()[0])
		require.Contains(t, strays(canary, got), "not of its cohorts")
	}
}
