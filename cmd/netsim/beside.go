package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
	"github.com/starling-swarm/starling/netsim/scenario"
)

// besideText is the demo's swarm, as cmd/starling starts it: the same robots, images,
// plan, profile and misfortunes. The demo's robots fetch 2 MiB/s at most: 1.68 % of the
// lan's rate. Their computers are as fast as a laptop.
const besideText = `
name: beside-demo
about: The good release of starling demo, with the same robots, images, plan and profile.
duration: 10m
world: {profile: local}
fleet:
  - {name: a, count: %d, model: mk1, device: {hash: 1GiB, flash: 200MiB, boot: 500ms}}
  - {name: b, count: %d, model: mk2, device: {hash: 1GiB, flash: 200MiB, boot: 500ms}}
releases:
  - {version: "1.0", size: 3MiB, variants: [{model: mk1}, {model: mk2}]}
  - {version: "1.1", size: 3MiB, variants: [{model: mk1}, {model: mk2}]}
story:
  - after: joined
    ship: {version: "1.1", canary: 5%%, canary_min: 2, waves: [50%%, 100%%], soak: 1s, exposure: 2s, wave_soak: 0s, final_soak: 0s, min_healthy: 1s,
      healthy_deadline: 20s, silence_deadline: 40s, install_deadline: 60s, batch: 50%%, prefetch: next}
faults:
  - {from: 0s, pick: robots, bandwidth: {factor: 1.68%%}}
  - {when: wave 1.1, pick: operator, switch_off: {silent: true}}
  - {when: wave 1.1, pick: random 1 of phase=fetching, crash: {restart: 500ms}}
  - {when: wave 1.1 + 4s, pick: leader, crash: {restart: 2s}}
expect: {active: "1.1"}
`

// whyTheyDiffer is said with the times, for neither is the truth about the other.
const whyTheyDiffer = `
Waiting is the same on both sides: probes, soak, elections, the time to be healthy. What
differs: real robots read 2 MiB/s each, their first half MiB at once, and nobody limits
who sends; simulated links carry 2 MiB/s at either end, so the operator needs three
seconds for two images of 3 MiB, and peers share what they send. Real processes start,
sync to a disk, ask their payloads, and share the cores of this machine; simulated ones
take the time of their links, and what hashing and flash take on their device, and
nothing else. Who leads and who is killed when is chance on both sides.
`

func besideCommand() *cobra.Command {
	var seed uint64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "beside FILE",
		Short: "Show the times of a real demo beside those of the same swarm in virtual time",
		Long: `Read what starling demo --json has written, run a swarm of as many robots with the same
images, plan and profile in virtual time, and print how long each took: a check of the
simulator against real processes, and of what it leaves out.`,
		Example: `  starling demo --json > demo.json
  netsim beside demo.json`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := readDemo(args[0])
			if err != nil {
				return err
			}
			s, err := scenario.Parse("beside-demo", fmt.Appendf(nil, besideText, (d.Robots+1)/2, d.Robots/2))
			if err != nil {
				return err
			}
			e, err := makeEngine(cmd.Context(), 1)
			if err != nil {
				return err
			}
			var phases []phase
			r, err := e.run(cmd.Context(), source{Scenario: s, name: s.Name}, runOptions{seed: seed, said: func(n netsim.Note) {
				if p, ok := phaseOf(n, "1.1"); ok {
					phases = append(phases, p)
				}
			}})
			if err != nil {
				return err
			}
			if !r.OK() {
				return fmt.Errorf("the simulated demo did not go well: %s", r.Why())
			}
			b := besides{Robots: d.Robots, Real: measure(d.Phases), Simulated: measure(phases), RealSeconds: d.TotalSeconds, WallSeconds: r.Wall, VirtualSeconds: r.Virtual}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			}
			return b.text(cmd.OutOrStdout())
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "the seed of the simulated swarm")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// A phase is a robot that came to a phase of the release.
type phase struct {
	Seconds float64 `json:"seconds"`
	Robot   string  `json:"robot"`
	Phase   string  `json:"phase"`
}

// A demo is what is needed of the summary of a real one.
type demo struct {
	Schema       string  `json:"schema"`
	Robots       int     `json:"robots"`
	TotalSeconds float64 `json:"total_seconds"`
	Phases       []phase `json:"phases"`
}

func readDemo(path string) (*demo, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usage{err}
	}
	var d demo
	if err := json.Unmarshal(data, &d); err != nil || d.Schema != "starling.demo/v1" || d.Robots < 6 || len(d.Phases) == 0 {
		return nil, usagef("%s is not what starling demo --json prints", path)
	}
	return &d, nil
}

// phaseOf reads the note of a robot that came to a phase: "staging 1.1 (1f90cc6141ff) …".
func phaseOf(n netsim.Note, version string) (phase, bool) {
	words := strings.Fields(n.Text)
	if n.Kind != "phase" || len(words) < 2 || words[1] != version {
		return phase{}, false
	}
	return phase{n.At.Seconds(), n.Machine, words[0]}, true
}

// Times are when a rollout had come how far, in seconds since the first robot began to
// fetch; 0 is never.
type times struct {
	Fetched    float64 `json:"all_fetched"`      // by the last robot
	Canaries   float64 `json:"canaries_done"`    // the first two had committed
	WaveBegins float64 `json:"first_wave_opens"` // the third robot switched
	Committed  float64 `json:"all_committed"`
}

// demoCanaries is how many canaries the demo's plan has.
const demoCanaries = 2

// measure takes the times from what robots came to.
func measure(all []phase) (t times) {
	slices.SortStableFunc(all, func(a, b phase) int { return cmp.Compare(a.Seconds, b.Seconds) })
	first := map[string]map[string]bool{} // by phase and robot
	comes := func(p phase, to string) int {
		if first[to] == nil {
			first[to] = map[string]bool{}
		}
		if first[to][p.Robot] {
			return 0
		}
		first[to][p.Robot] = true
		return len(first[to])
	}
	began := -1.0
	for _, p := range all {
		if began < 0 && p.Phase == "fetching" {
			began = p.Seconds
		}
		at := p.Seconds - began
		switch p.Phase {
		case "staging":
			if comes(p, p.Phase) > 0 {
				t.Fetched = at
			}
		case "trial":
			if comes(p, p.Phase) == demoCanaries+1 {
				t.WaveBegins = at
			}
		case "committed":
			switch n := comes(p, p.Phase); {
			case n == demoCanaries:
				t.Canaries = at
				t.Committed = at
			case n > 0:
				t.Committed = at
			}
		}
	}
	return t
}

// besides are both sides.
type besides struct {
	Robots         int     `json:"robots"`
	Real           times   `json:"real"`
	Simulated      times   `json:"simulated"`
	RealSeconds    float64 `json:"real_seconds"`    // the whole demo took
	WallSeconds    float64 `json:"wall_seconds"`    // the simulation took
	VirtualSeconds float64 `json:"virtual_seconds"` // and played
}

func (b *besides) text(out io.Writer) error {
	fmt.Fprintf(out, "%d robots, 3 MiB each, profile local: seconds since the first robot began to fetch\n\n%-34s %8s %10s\n", b.Robots, "", "real", "simulated")
	for _, l := range []struct {
		what      string
		real, sim float64
	}{
		{"both canaries have committed", b.Real.Canaries, b.Simulated.Canaries},
		{"the first wave begins to switch", b.Real.WaveBegins, b.Simulated.WaveBegins},
		{"the last robot has the image", b.Real.Fetched, b.Simulated.Fetched},
		{"the last robot has committed", b.Real.Committed, b.Simulated.Committed},
	} {
		fmt.Fprintf(out, "%-34s %7.1fs %9.1fs\n", l.what, l.real, l.sim)
	}
	_, err := fmt.Fprintf(out, "\nthe real demo took %.0f s; %s of virtual time took %.1f s\n%s", b.RealSeconds, time.Duration(b.VirtualSeconds*1e9).Round(time.Second), b.WallSeconds, whyTheyDiffer)
	return err
}
