package rollout

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

// TestScripts plays testdata/*.script. Every document in them is signed and goes
// through the log as bytes; see play for the commands.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		p := &player{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			p.d = d
			return p.play()
		})
	})
}

// player is one script on its way.
type player struct {
	t *testing.T
	d *datadriven.TestData
	g *rig
}

// play runs one command and prints what came of it.
func (p *player) play() string {
	switch p.d.Cmd {
	case "swarm":
		p.g = newRig(p.t, p.num("robots", 10), p.num("voters", 4), p.num("models", 1))
		return ""
	case "bench":
		for _, i := range p.robots() {
			p.g.roster.Members[i].Labels["role"] = "hil"
		}
		p.g.state.Roster = p.g.rosterRef()
		return ""
	case "release":
		return p.release()
	case "plan":
		return p.plan()
	case "installed":
		require.NoError(p.t, p.g.apply(p.g.startOf(p.word(0))))
		p.g.finish()
		return Explain(p.g.state.Order())
	case "start":
		return p.result(p.g.apply(p.g.startOf(p.word(0))))
	case "report":
		return p.result(p.g.observe(p.reports()...))
	case "commit":
		return p.result(p.g.observe(p.g.commits(uint32(p.num("healthy", 0)), p.robots()...)...))
	case "advance":
		p.g.pass(int64(p.num("after", 0)))
		return p.result(p.g.advance())
	case "wait":
		p.g.pass(int64(p.num("for", 0)))
		return ""
	case "dusk": // an hour in which nobody decides, then a look
		p.g.now += 3600
		return p.result(p.g.advance())
	case "pause", "resume", "rollback", "renew":
		return p.intent(Verb(p.d.Cmd))
	case "verdict":
		return p.verdict()
	case "explain":
		return strings.Join(p.g.state.ExplainState(), "\n")
	case "state":
		return p.state()
	}
	return "unknown command"
}

// result prints an error, or where the rollout stands.
func (p *player) result(err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	return p.state()
}

// state prints the sentence for people, then the sets that are not empty.
func (p *player) state() string {
	s := p.g.state
	out := Explain(s.Order())
	r := s.Rollout
	if r == nil {
		return out
	}
	for _, set := range []struct {
		name string
		set  member.Set
	}{{"open", r.Open}, {"opened", r.Opened}, {"deferred", r.Deferred}, {"excused", r.Excused}} {
		if len(set.set) > 0 {
			out += fmt.Sprintf("\n  %s: %v", set.name, set.set.All())
		}
	}
	if c := s.component("app"); r.Status.Final() && c != nil {
		out += fmt.Sprintf("\n  active %s, previous %s, floor %d, %d quarantined", version(c.Active), version(c.Previous), c.Floor, len(s.Quarantine))
	}
	return out
}

func version(r manifest.Ref) string {
	if r.IsZero() {
		return "none"
	}
	return r.Version
}

// word is the i-th argument without a value.
func (p *player) word(i int) string {
	for _, a := range p.d.CmdArgs {
		if len(a.Vals) == 0 {
			if i == 0 {
				return a.Key
			}
			i--
		}
	}
	return ""
}

// vals are the values of an argument, nil if it is not there.
func (p *player) vals(key string) []string {
	for _, a := range p.d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func (p *player) num(key string, def int) int {
	if v := p.vals(key); v != nil {
		n, err := strconv.Atoi(v[0])
		require.NoError(p.t, err, p.d.Pos)
		return n
	}
	return def
}

// robots are the arguments that are numbers; "open" and "opened" stand for sets.
func (p *player) robots() []member.Index {
	var out []member.Index
	for _, a := range p.d.CmdArgs {
		if i, err := strconv.Atoi(a.Key); err == nil && len(a.Vals) == 0 {
			out = append(out, member.Index(i))
		}
		switch a.Key {
		case "open":
			out = append(out, members(p.g.state.Rollout.Open)...)
		case "opened":
			out = append(out, members(p.g.state.Rollout.Opened)...)
		}
	}
	return out
}

// release: release VERSION counter=N [from=V,…] [fallbacks=V,…] [floor=N]
func (p *player) release() string {
	p.g.release(p.word(0), uint64(p.num("counter", 1)), func(r *manifest.Release) {
		r.From = p.vals("from")
		for _, v := range p.vals("fallbacks") {
			r.Fallbacks = append(r.Fallbacks, p.g.releases[v].Ref())
		}
		r.SecurityFloor = uint64(p.num("floor", 0))
	})
	return ""
}

// plan changes what the next start is signed with.
func (p *player) plan() string {
	for _, a := range p.d.CmdArgs {
		f, found := planFields[a.Key]
		require.True(p.t, found, "%s: %s", p.d.Pos, a.Key)
		n := 0
		if len(a.Vals) > 0 {
			n, _ = strconv.Atoi(a.Vals[0])
		}
		f(p.g, n)
	}
	return ""
}

var planFields = map[string]func(*rig, int){
	"canary_min":    func(g *rig, n int) { g.plan.CanaryMin = uint16(n) },
	"canary_share":  func(g *rig, n int) { g.plan.CanaryPermille = uint16(n) },
	"canary_limit":  func(g *rig, n int) { g.plan.CanaryGate.MaxFailures = uint16(n) },
	"canary_holds":  func(g *rig, n int) { g.plan.CanaryGate.OnPass = Hold },
	"wave_limit":    func(g *rig, n int) { g.plan.WaveGate.MaxFailures = uint16(n) },
	"wave_reverts":  func(g *rig, n int) { g.plan.WaveGate.OnFail = Revert },
	"batch_max":     func(g *rig, n int) { g.plan.BatchMax = uint16(n) },
	"batch_share":   func(g *rig, n int) { g.plan.BatchPermille = uint16(n) },
	"one_wave":      func(g *rig, n int) { g.plan.Waves = []uint16{1000} },
	"sim":           func(g *rig, n int) { g.plan.Sim = true },
	"hil":           func(g *rig, n int) { g.plan.HIL = true },
	"lease":         func(g *rig, n int) { g.plan.LeaseSeconds = uint32(n) },
	"lost_holds":    func(g *rig, n int) { g.plan.OnOperatorLost = Hold },
	"lost_finishes": func(g *rig, n int) { g.plan.OnOperatorLost = FinishHold },
	"expires":       func(g *rig, n int) { g.plan.Expires = g.now + int64(n) },
	"despite":       func(g *rig, n int) { g.plan.DespiteQuarantine, g.plan.Reason = true, "fixed by configuration" },
	"floor":         func(g *rig, n int) { g.plan.Floors = []Floor{{Label: "model", Value: "mk1", MinAvailable: uint16(n)}} },
	"seed":          func(g *rig, n int) { g.plan.Seed[0] = byte(n) },
}

// reports: report ROBOT… phase=trial [result=failed] [healthy=N] [boot=N] [leaving]
// [reason=a-b-c] [old]. Without "old", a robot in trial or committed runs the
// release.
func (p *player) reports() [][]byte {
	var out [][]byte
	for _, i := range p.robots() {
		out = append(out, p.g.health(i, func(h *member.Health) {
			for ph := member.Idle; int(ph) < member.Phases; ph++ {
				if v := p.vals("phase"); v != nil && v[0] == ph.String() {
					h.Phase = ph
				}
			}
			for r := member.Unknown; r <= member.Failed; r++ {
				if v := p.vals("result"); v != nil && v[0] == r.String() {
					h.Result = r
				}
			}
			if (h.Phase == member.Trial || h.Phase == member.Committed) && !p.d.HasArg("old") {
				h.Running = h.Release
			}
			h.Healthy, h.Boot, h.Leaving = uint32(p.num("healthy", 0)), uint64(p.num("boot", 1)), p.d.HasArg("leaving")
			if v := p.vals("reason"); v != nil {
				h.Reason = strings.ReplaceAll(v[0], "-", " ")
			}
		}))
	}
	return out
}

func (p *player) intent(v Verb) string {
	in := Intent{Verb: v, Rollout: p.g.state.Rollouts}
	if to := p.vals("to"); to != nil {
		in.To = p.g.releases[to[0]].Ref()
	}
	if why := p.vals("reason"); why != nil {
		in.Reason = strings.ReplaceAll(why[0], "-", " ")
	}
	return p.result(p.g.apply(&Decision{Kind: KindIntent, Intent: p.g.intent(in)}))
}

// verdict: verdict sim|hil [failed], a signed report on the release.
func (p *player) verdict() string {
	rep := Report{Format: 1, Stage: order.Sim, Release: p.g.state.Rollout.Plan.Release.Digest, Passed: !p.d.HasArg("failed"), By: "bench 1", Runs: 20, Summary: "20 scenarios"}
	if p.d.HasArg("hil") {
		rep.Stage = order.HIL
	}
	data := rep.Seal(envelope.TrustScope(p.g.state.TrustRoot)).Sign(testKey("bench")).Encode()
	return p.result(p.g.apply(&Decision{Kind: KindReport, Report: data}))
}
