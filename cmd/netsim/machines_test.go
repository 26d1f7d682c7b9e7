package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim"
)

// sick is a swarm with disks and clocks that go wrong.
const sick = `
name: sick
about: Clocks jump and run fast, a disk lies, and the power fails.
seed: 3
duration: 10m
world: {profile: local}
fleet: [{name: cart, count: 6, device: {boot: 1s}}]
releases:
  - {version: "1.0", size: 256KiB}
  - {version: "1.1", size: 1MiB}
story:
  - {at: 60s, ship: {version: "1.1", soak: 2s, waves: [100%], batch: 2}}
faults:
  - {at: 10s, pick: cart-1, clock: {jump: 300d}}
  - {from: 10s, for: 50s, pick: cart-2, clock: {drift_ppm: 100000}}
  - {from: 30s, for: 2m, pick: cart-4, bad_write: {kind: lost, rate: 30%}}
  - {at: 5s, pick: cart-5, power_cut: {restart: 3s, torn: true}}
  - {at: 9s, pick: cart-6, restart: {}}
  - {at: 3m, pick: cart-1 cart-2, clock: {jump: 1s}}
expect: {active: "1.1"}
`

// Clocks and disks go wrong in a program with a pinned runtime, and alike each time.
func TestClocksAndDisksGoWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	e, err := newEngine(t.Context(), 0)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "sick.yaml")
	require.NoError(t, os.WriteFile(path, []byte(sick), 0o600))
	s, err := open(path)
	require.NoError(t, err)
	var digests []string
	for range 2 {
		r, said := tell(t, e, s)
		digests = append(digests, r.Digest)

		require.Equal(t, []string{"10 shows 2027-03-28 06:00:10", "180 shows 2027-03-28 06:03:01"}, said["cart-1 clock"])
		// Fifty seconds that were fifty-five.
		require.Equal(t, []string{"10 shows 2026-06-01 06:00:10", "180 shows 2026-06-01 06:03:06"}, said["cart-2 clock"])
		require.Regexp(t, `^150 has spoilt [1-9]\d* of \d+ writes$`, said["cart-4 disk"][0])
		require.Regexp(t, `^5 forgets writes to \d+ files and \d+ names`, said["cart-5 disk"][0])
		require.Empty(t, said["cart-6 disk"], "a machine that is switched off in order forgets nothing")
	}
	require.Equal(t, digests[0], digests[1])
}

// A robot without space gets nothing until there is some.
func TestDisksFill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds this program with a pinned runtime")
	}
	e, err := newEngine(t.Context(), 0)
	require.NoError(t, err)
	s, err := open("full-disks")
	require.NoError(t, err)
	_, said := tell(t, e, s)
	for i := range 8 {
		name := fmt.Sprintf("cart-%d", i+1)
		var at float64
		_, err := fmt.Sscanf(said[name+" commit"][0], "%f commits 1.0", &at)
		require.NoError(t, err, "%s", said[name+" commit"])
		full := name == "cart-2" || name == "cart-5"
		require.Equal(t, full, at > 250, "%s has it at %f", name, at)
	}
}

// tell runs s with its own seed; all must go well. It returns what was said of each
// machine, by name and kind, with the seconds.
func tell(t *testing.T, e *engine, s source) (*netsim.Report, map[string][]string) {
	said := map[string][]string{}
	r, err := e.run(t.Context(), s, runOptions{seed: s.Seed, said: func(n netsim.Note) {
		who := n.Machine + " " + n.Kind
		said[who] = append(said[who], fmt.Sprintf("%.0f %s", n.At.Seconds(), n.Text))
	}})
	require.NoError(t, err)
	require.True(t, r.Exact, "%v", r.Loose)
	require.Empty(t, r.Why(), "the swarm gets through")
	return r, said
}
