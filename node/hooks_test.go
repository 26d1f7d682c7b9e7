package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/install"
)

// writeHooks makes a hook for each point that appends what it is told to a file.
func writeHooks(t *testing.T, dir, into string) {
	for _, p := range []install.Point{install.PreCheck, install.Quiesce, install.PreActivate, install.Committed, install.PreRevert, install.PostRevert} {
		at := filepath.Join(dir, string(p))
		require.NoError(t, os.MkdirAll(at, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(at, "10-tell"), []byte("#!/bin/sh\ncat >> '"+into+"'\n"), 0o755))
	}
}

func toldHooks(t *testing.T, from string) (out []install.HookInput) {
	f, err := os.Open(from)
	require.NoError(t, err)
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var in install.HookInput
		require.NoError(t, json.Unmarshal(lines.Bytes(), &in), lines.Text())
		out = append(out, in)
	}
	return out
}

// Hooks are told what they need to act on: which slots, which plan, how many attempts
// are left, and where the payload keeps its data. One robot takes its first release,
// then a good one by a rollout, then goes back from it.
func TestHooksAreToldHowThingsStand(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 0, "1.0.0")
	told := filepath.Join(s.dir, "told")
	writeHooks(t, filepath.Join(s.dir, "hooks.d"), told)
	s.hooks = filepath.Join(s.dir, "hooks.d")
	m := s.addRobot("r01")
	s.wait("joined", m.taking)
	require.NoError(t, s.op.Begin(s.ctx, 1))
	s.wait("1.0.0", s.all("1.0.0"))
	star := filepath.Join(s.dir, "1.1.0.star")
	rel := s.build("1.1.0", star)
	s.publish(rel, star)
	s.rollOut(rel)
	s.wait("1.1.0 done", func() bool { return s.status() == order.Finished })
	s.wait("1.1.0", s.all("1.1.0"))
	plan := s.op.View().Order.Rollout.Plan
	_, err := m.Rollback(s.ctx, "app", "by hand")
	require.NoError(t, err)
	s.wait("1.0.0 again", func() bool {
		return slices.ContainsFunc(toldHooks(t, told), func(h install.HookInput) bool {
			return h.Point == install.Committed && h.Version == "1.0.0" && h.From == "b"
		})
	})

	var got []string
	data, cache := filepath.Join(m.cfg.Dir, "slots", "app", "data"), filepath.Join(m.cfg.Dir, "slots", "app", "cache")
	for _, h := range toldHooks(t, told) {
		require.Equal(t, []any{1, "app", data, cache}, []any{h.API, h.Component, h.Data, h.Cache})
		require.Equal(t, filepath.Join(m.cfg.Dir, "slots", "app", h.To), h.SlotDir)
		if h.Version == "1.1.0" {
			require.Equal(t, plan, h.Plan)
			require.Equal(t, rel.Digest(), h.Release)
		} else {
			require.True(t, h.Plan.IsZero())
		}
		line := fmt.Sprintf("%s %s %s>%s %d", h.Point, h.Version, h.From, h.To, h.Attempts)
		refused := h.Point == install.PostRevert && h.Attempts > 0 // asked again: that is no matter here
		if !refused && !slices.Contains(got, line) {
			got = append(got, line)
		}
	}
	require.Equal(t, []string{
		"precheck 1.0.0 >a 3", "quiesce 1.0.0 >a 3", "pre-activate 1.0.0 >a 3", "commit 1.0.0 >a 0",
		"precheck 1.1.0 a>b 3", "quiesce 1.1.0 a>b 3", "pre-activate 1.1.0 a>b 3", "commit 1.1.0 a>b 0",
		"pre-revert 1.0.0 b>a 0", "post-revert 1.0.0 b>a 0", "commit 1.0.0 b>a 0",
	}, got)
}
