package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A benchCase is one question, with its answer printed as a table.
type benchCase struct {
	name, about string
	run         func(b *bench, ctx context.Context) error
}

// errSkip is wrapped by the reason why a case cannot run here.
var errSkip = errors.New("not possible here")

// runLimit ends a run that hangs.
const runLimit = 5 * time.Minute

const mib = 1 << 20

var cases []benchCase

func init() { // a literal would refer to itself
	cases = []benchCase{
		{"uplinks-4", "128 MiB from one seed to 4 robots, every uplink 16 MiB/s", race(128, 4, 16*mib)},
		{"uplinks-12", "64 MiB from one seed to 12 robots, every uplink 8 MiB/s", race(64, 12, 8*mib)},
		{"unlimited", "256 MiB from one seed to 4 robots, loopback, no limit", race(256, 4, 0)},
		{"memory", "1 GiB from one seed to 1 robot, loopback, no limit: see the peak of memory", race(1024, 1, 0)},
		{"liar", "64 MiB to 10 robots, one of which passes a tenth of the pieces on with wrong bytes", (*bench).liar},
		{"leave", "64 MiB to 6 robots, the seed leaves when it says that it may", (*bench).leave},
		{"killed", "64 MiB to 4 robots, everybody is killed at 50 % and started again", (*bench).killed},
		{"split", "64 MiB to 8 robots, cut in two halves at 40 % and healed", (*bench).split},
		{"bulk", "whole nodes, 128 MiB to 6 robots over links of 2 MiB/s that gossip and Raft share", (*bench).bulk},
		{"build", "release build of a tree of 1 GiB, against hashing it", (*bench).building},
		{"delta", "what a robot fetches that has the version before", (*bench).deltas},
	}
}

// race compares the systems: they take turns, round by round.
func race(sizeMiB, fetchers int, uplink int64) func(*bench, context.Context) error {
	return func(b *bench, ctx context.Context) error {
		im, err := b.image(max(1, sizeMiB/b.scale))
		if err != nil {
			return err
		}
		var setups []setup
		for _, s := range b.systems(uplink > 0) {
			setups = append(setups, setup{system: s, image: im, fetchers: fetchers, uplink: uplink, own: b.own})
		}
		if uplink > 0 && !b.own {
			if err := canWire(); err != nil {
				return fmt.Errorf("%w: %w; -own does without", errSkip, err)
			}
		}
		runs := make([][]result, len(setups))
		loads := make([]string, len(setups))
		for range b.rounds {
			for i, s := range setups {
				r, err := b.once(ctx, s)
				if err != nil {
					return fmt.Errorf("%s: %w", s.system.name, err)
				}
				runs[i], loads[i] = append(runs[i], r), load()
			}
		}
		return b.printRace(setups, runs, loads)
	}
}

// once is measure within runLimit.
func (b *bench) once(ctx context.Context, s setup) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	return b.measure(ctx, s)
}

// systems are those to compare that are here; of the others it says why not.
func (b *bench) systems(limited bool) []system {
	var out []system
	for _, s := range systems {
		if len(b.picked) > 0 && !contains(b.picked, s.name) {
			continue
		}
		why := s.missing()
		if why == "" && limited && b.own && !s.ownLimit {
			why = "it has no limit of its own that the harness sets"
		}
		if why != "" {
			fmt.Fprintf(b.out, "  %s left out: %s\n", s.name, why)
			continue
		}
		out = append(out, s)
	}
	return out
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}

func (b *bench) printRace(setups []setup, runs [][]result, loads []string) error {
	var t table
	t.add("system", "time", "x bound", "seed x", "seed wire x", "dup %", "CPU s/GiB", "peak MiB", "times of all rounds", "load")
	for i, s := range setups {
		m := medians(runs[i])
		times := ""
		for _, r := range runs[i] {
			times += fmt.Sprintf("%.2f ", r.seconds)
		}
		t.add(s.system.name, number(m.seconds, 2)+" s", number(m.ratio, 3), number(m.seedTimes, 3), number(m.wire, 3),
			number(m.duplicates, 2), number(m.cpuPerGiB, 2), number(m.peakRSS, 0), times, loads[i])
	}
	return t.print(b.out)
}
