package netsim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/node/update"
)

func TestGoodSlot(t *testing.T) {
	p := &past{slot: update.A, good: []manifest.Digest{old.Digest}}
	was := standing{running: old, committed: old}
	require.Empty(t, p.switches("r", was, update.B, nil))
	require.Empty(t, p.switches("r", standing{}, update.A, nil), "the first release has none before it")
	require.Contains(t, p.switches("r", was, update.A, nil), "holds what it has committed")
	require.Contains(t, p.switches("r", was, update.B, errors.New("torn")), "is not whole: torn")

	require.Empty(t, p.returns("r", old))
	require.Contains(t, p.returns("r", fresh), "never committed")

	require.Empty(t, p.boots("r", was, old))
	require.Contains(t, p.boots("r", was, fresh), "never committed")
	trial := standing{running: fresh, committed: old, trial: true, ran: []manifest.Digest{old.Digest, fresh.Digest}}
	require.Empty(t, p.boots("r", trial, fresh), "a trial goes on")
	require.Empty(t, p.boots("r", trial, old))
}

func TestLingers(t *testing.T) {
	const s = time.Second
	trial := standing{running: fresh, committed: old, trial: true}
	p := &past{}
	look := func(st standing, now, on time.Duration) string { return p.lingers("r", st, now, on, 60*s) }
	require.Empty(t, look(trial, 10*s, 1*s))
	require.Empty(t, look(trial, 70*s, 1*s), "60 s are allowed")
	require.Contains(t, look(trial, 71*s, 1*s), "has run 1.1")
	require.Empty(t, look(trial, 72*s, 1*s), "and is not told each second")
	require.Empty(t, look(standing{running: fresh, committed: fresh}, 80*s, 1*s))
	require.Empty(t, look(trial, 90*s, 1*s), "a new trial has its own time")
	require.Empty(t, look(trial, 200*s, 150*s), "and a new life too")
	require.Contains(t, look(trial, 261*s, 150*s), "has run 1.1")
	require.Contains(t, func() string {
		look(standing{running: fresh, committed: old}, 300*s, 1*s)
		return look(standing{running: fresh, committed: old}, 361*s, 1*s)
	}(), "has run 1.1")
	require.Empty(t, look(standing{running: fresh}, 400*s, 1*s), "before the first commit there is nothing to go back to")
}

func TestTenancy(t *testing.T) {
	const s = time.Second
	p := &past{}
	x := p.term(fresh.Digest)
	require.Zero(t, x.longest(100*s))
	x.from = 10 * s
	require.Equal(t, 5*s, x.longest(15*s))
	p.leaves(fresh.Digest, 30*s)
	require.Equal(t, 20*s, x.longest(100*s))
	x.from = 90 * s
	require.Equal(t, 20*s, x.longest(100*s), "the longest without a break, not the sum")
	p.leaves(old.Digest, 100*s) // never held: nothing happens
}

func TestBytesOf(t *testing.T) {
	p := &payload{r: &robot{machine: machine{name: "r"}}}
	require.Empty(t, bytesOf(p, nil))
	require.Equal(t, []string{"verified-first"}, names(bytesOf(p, errors.New("data differs"))))
	require.Equal(t, []string{"only-agreed-bytes"}, names(bytesOf(p, fmt.Errorf("%w: never built", errNotAgreed))))
}

func TestLeaderships(t *testing.T) {
	l := leaderships{}
	require.Empty(t, l.second(reign{1, 4}, "a"))
	require.Empty(t, l.second(reign{1, 4}, "a"))
	require.Empty(t, l.second(reign{1, 5}, "b"))
	require.Empty(t, l.second(reign{2, 4}, "b"), "a generation counts anew")
	require.Equal(t, []string{"one-leader"}, names(l.second(reign{1, 4}, "b")))
}

func TestCaps(t *testing.T) {
	require.Empty(t, beyond("r", []size{{"x", 8, 8}}))
	require.Equal(t, []string{"within-caps"}, names(beyond("r", []size{{"x", 8, 8}, {"y", 9, 8}})))
	require.Empty(t, beyond("r", heard(512, 16)))
	require.Len(t, beyond("r", heard(513, 17)), 2)

	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "raft", "snapshots", "1"), 0o755))
	file := filepath.Join(dir, "raft", "snapshots", "1", "state.bin")
	for _, c := range []struct{ bytes, want int }{{consensus.MaxSnapshotBytes, 0}, {consensus.MaxSnapshotBytes + 1, 1}} {
		require.NoError(t, os.WriteFile(file, make([]byte, c.bytes), 0o600))
		sizes, err := snapshots(dir)
		require.NoError(t, err)
		require.Len(t, sizes, 1)
		require.Len(t, beyond("r", sizes), c.want)
	}
	none, err := snapshots(filepath.Join(dir, "nothing"))
	require.NoError(t, err)
	require.Empty(t, none)
}
