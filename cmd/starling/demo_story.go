package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/starling-swarm/starling/node"
)

// demoModels are the two kinds of robots.
var demoModels = []string{"mk1", "mk2"}

// payloadBytes of ballast make a release worth fetching.
const payloadBytes = 3 << 20

// script is the payload: it says that it is well until told otherwise.
const demoScript = `#!/bin/sh
# release %s for %s
echo "ok %s" > "$STARLING_DATA/health"
%sexec sleep 3600
`

// play is the story from the first key to the summary.
func (d *demo) play(ctx context.Context) error {
	var err error
	if d.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	d.summary = demoSummary{Schema: "starling.demo/v1", Robots: d.o.robots}
	for _, act := range []func(context.Context) error{d.found, d.shipGood, d.shipBad, d.sumUp} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if d.o.keep {
		return d.writePids()
	}
	return nil
}

// found makes the swarm: keys, release 1.0, operator's node, robots.
func (d *demo) found(ctx context.Context) error {
	if _, err := d.run(ctx, "init", "orchard", "--dir", d.home(), "--profile", "local", "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	d.say("swarm made: owner and operator keys, root of trust")
	if err := d.startOperator(ctx); err != nil {
		return err
	}
	if err := d.publish(ctx, "1.0", ""); err != nil {
		return err
	}
	d.say("operator's node runs, release 1.0 is published and seeded")
	for _, m := range demoModels {
		if _, err := d.run(ctx, "invite", "--model", m, "--uses", fmt.Sprint(d.o.robots), "-o", filepath.Join(d.dir, "invite-"+m)); err != nil {
			return err
		}
	}
	news := make(chan struct{}, 1)
	for i := range d.o.robots {
		if err := d.startRobot(ctx, fmt.Sprintf("r%02d", i+1), demoModels[i%2], news); err != nil {
			return err
		}
	}
	d.say("%d robots of 2 models started, each a process with its own key, ports and directory", d.o.robots)
	began := time.Now()
	err := d.until(ctx, "all robots run 1.0", func() bool { return d.count("1.0") == d.o.robots })
	if err != nil {
		return err
	}
	voters := d.voters()
	d.say("genesis: %s vote; all %d robots run 1.0", strings.Join(voters, " "), d.o.robots)
	d.summary.Voters, d.summary.JoinSeconds = voters, time.Since(began).Seconds()
	return nil
}

// publish builds a release with a variant per model, signs it and seeds it.
func (d *demo) publish(ctx context.Context, version, misfortune string) error {
	args := []string{"release", "build", "--version", version, "--run", "run", "-o", d.star(version)}
	if prev := d.active(); prev != "" {
		args = append(args, "--fallback", prev)
	}
	for _, m := range demoModels {
		src := filepath.Join(d.dir, "build", version, m)
		if err := writePayload(src, version, m, misfortune); err != nil {
			return err
		}
		args = append(args, "--variant", fmt.Sprintf("%s=%s,model=%s", m, src, m))
	}
	if _, err := d.run(ctx, args...); err != nil {
		return err
	}
	if _, err := d.run(ctx, "release", "sign", d.star(version)); err != nil {
		return err
	}
	_, err := d.run(ctx, "release", "import", d.star(version))
	return err
}

func (d *demo) star(version string) string { return filepath.Join(d.dir, "app-"+version+".star") }

func writePayload(dir, version, model, misfortune string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf(demoScript, version, model, version, misfortune)
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o755); err != nil {
		return err
	}
	ballast := make([]byte, payloadBytes)
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for i := range ballast {
		ballast[i] = byte(r.Uint32())
	}
	return os.WriteFile(filepath.Join(dir, "model.bin"), ballast, 0o644)
}

// until waits for news of robots until cond holds.
func (d *demo) until(ctx context.Context, what string, cond func() bool) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-d.anyRobot().news:
		case <-tick.C:
		}
	}
	return nil
}

func (d *demo) anyRobot() *demoRobot { return d.robots[d.order[0]] }

// count is how many robots run, committed, this version, by their own word.
func (d *demo) count(version string) int {
	n := 0
	for _, r := range d.robots {
		a := r.app()
		if a.Running != nil && a.Committed != nil && a.Running.Version == version && a.Committed.Version == version {
			n++
		}
	}
	return n
}

// newest is the newest status that any robot has told, nil before the first.
func (d *demo) newest() *node.Status {
	if r := d.newestRobot(); r != nil {
		return r.now()
	}
	return nil
}

// newestRobot is the robot that knows the newest order.
func (d *demo) newestRobot() *demoRobot {
	var best *demoRobot
	var told *node.Status
	for _, r := range d.robots {
		s := r.now()
		if s == nil || s.Order == nil {
			continue
		}
		if told == nil || s.Order.Index > told.Order.Index || (s.Order.Index == told.Order.Index && s.Time.After(told.Time)) {
			best, told = r, s
		}
	}
	return best
}

// active is the version that the swarm runs, empty before the start.
func (d *demo) active() string {
	if s := d.newest(); s != nil && len(s.Components) > 0 && s.Components[0].Active != nil {
		return s.Components[0].Active.Version
	}
	return ""
}

func (d *demo) voters() []string {
	var out []string
	if s := d.newest(); s != nil {
		for _, v := range s.Quorum.Voters {
			out = append(out, string(v.ID))
		}
	}
	return out
}

// startRollout starts a rollout with a canary and two waves; the times are those of
// a story that is told in a minute.
func (d *demo) startRollout(ctx context.Context, version, minHealthy string) error {
	_, err := d.run(ctx, "rollout", "start", version, "--yes", "--canary", "5%", "--canary-min", "2", "--waves", "50%,100%",
		"--soak", "1s", "--exposure", "2s", "--wave-soak", "0s", "--final-soak", "0s", "--min-healthy", minHealthy, "--healthy-deadline", "20s", "--silence-deadline", "40s",
		"--install-deadline", "60s", "--batch", "50%", "--prefetch", "next")
	return err
}

// shipGood ships 1.1 through three misfortunes.
func (d *demo) shipGood(ctx context.Context) error {
	began := time.Now()
	if err := d.publish(ctx, "1.1", ""); err != nil {
		return err
	}
	if err := d.startRollout(ctx, "1.1", "1s"); err != nil {
		return err
	}
	d.say("release 1.1 signed and shipped: a canary, then waves of 50 %% and 100 %%")
	m := &misfortunes{d: d}
	err := d.until(ctx, "1.1 is done and all robots run it", func() bool {
		d.sayRollout("1.1")
		if m.err == nil {
			m.strike(ctx)
		}
		s := d.newest()
		over := s != nil && s.Rollout != nil && s.Rollout.Release.Version == "1.1" && s.Rollout.Final
		return m.err != nil || (over && s.Rollout.Status != "done") || (over && !m.leaderless && d.count("1.1") == d.o.robots)
	})
	if err == nil {
		err = m.err
	}
	if err != nil {
		return err
	}
	d.summary.ShipSeconds = time.Since(began).Seconds()
	d.summary.Killed = m.done()
	d.say("1.1 runs on %d of %d robots", d.count("1.1"), d.o.robots)
	return nil
}

// sayRollout tells how far a rollout is, when that changes.
func (d *demo) sayRollout(version string) {
	s := d.newest()
	if s == nil || s.Rollout == nil || s.Rollout.Release.Version != version {
		return
	}
	permille, fetching, back := 0, 0, 0
	for _, r := range d.robots {
		a := r.app()
		if a.Release == nil || a.Release.Version != version {
			continue
		}
		switch a.Phase {
		case "fetching":
			fetching++
			permille += int(a.Progress)
		case "reverting", "reverted":
			back++
		}
	}
	line := fmt.Sprintf("%s is %s in %s", version, s.Rollout.Status, s.Rollout.Stage)
	if s.Rollout.Wave > 0 && s.Rollout.Stage == "wave" {
		line += fmt.Sprintf(" %d", s.Rollout.Wave)
	}
	if s.Rollout.Final {
		line = fmt.Sprintf("%s is %s", version, s.Rollout.Status)
	}
	line += fmt.Sprintf(": %d of %d robots run it", d.count(version), d.o.robots)
	if fetching > 0 { // in quarters: progress, not a flood
		line += fmt.Sprintf(", %d fetch it (%d %%)", fetching, permille/fetching/250*25)
	}
	if back > 0 {
		line += fmt.Sprintf(", %d went back", back)
	}
	if fetching > 0 && time.Since(d.progressAt) < time.Second {
		return
	}
	d.progressAt = time.Now()
	d.say("%s", line)
}

// shipBad ships 1.2, whose payload fails its probe two seconds after it started.
func (d *demo) shipBad(ctx context.Context) error {
	if err := d.startOperator(ctx); err != nil {
		return err
	}
	d.say("the operator is back")
	const misfortune = "sleep 2\necho 'navigation lost its heartbeat' > \"$STARLING_DATA/health\"\n"
	if err := d.publish(ctx, "1.2", misfortune); err != nil {
		return err
	}
	began := time.Now()
	if err := d.startRollout(ctx, "1.2", "10s"); err != nil {
		return err
	}
	d.say("release 1.2 shipped: it starts well and fails two seconds later")
	err := d.until(ctx, "1.2 is taken back", func() bool {
		d.sayRollout("1.2")
		s := d.newest()
		return s != nil && s.Rollout != nil && s.Rollout.Release.Version == "1.2" && s.Rollout.Final && d.count("1.1") == d.o.robots
	})
	if err != nil {
		return err
	}
	d.summary.RevertSeconds = time.Since(began).Seconds()
	text, err := d.run(ctx, "rollout", "explain", "--addr", "unix:"+d.newestRobot().socket)
	if err != nil {
		return err
	}
	d.summary.Explain = strings.TrimSpace(strings.SplitN(text, "\n", 2)[0])
	d.say("%s", d.summary.Explain)
	return nil
}
