package exact

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReplay: equal seeds give equal runs, other seeds others, also while
// goroutines outside the bubble wake hundreds of times a second.
func TestReplay(t *testing.T) {
	pinned, _ := needChild(t)
	c := runChild(t, pinned, 1)
	require.Contains(t, c.out, "pinned: true\n")

	first := map[uint64]string{}
	for seed := uint64(1); seed <= 2; seed++ {
		dir := t.TempDir()
		for i := range 10 {
			record := filepath.Join(dir, fmt.Sprintf("run%d", i))
			digest := digests(t, pinned, 1, seed, "-noise=5ms", "-record", record)[0]
			if i == 0 {
				first[seed] = digest
			} else if digest != first[seed] {
				t.Errorf("seed %d, run %d: %s", seed, i, whereTheyPart(t, filepath.Join(dir, "run0"), record))
			}
		}
	}
	require.NotEqual(t, first[1], first[2], "the seed changes nothing")
}

// whereTheyPart shows the first difference of two recorded runs.
func whereTheyPart(t *testing.T, one, other string) string {
	a, err := os.Open(one)
	require.NoError(t, err)
	defer a.Close()
	b, err := os.Open(other)
	require.NoError(t, err)
	defer b.Close()
	d, err := Compare(a, b, 5)
	require.NoError(t, err)
	require.NotNil(t, d, "digests differ and records do not")
	return d.String()
}

// TestPlainBuildDiffers shows that TestReplay can fail, and that a program
// without the pins knows it.
func TestPlainBuildDiffers(t *testing.T) {
	_, plain := needChild(t)
	c := runChild(t, plain, 1)
	require.Contains(t, c.out, "pinned: false\n")
	require.Contains(t, c.out, "loose: the Go runtime is the installed one")
	require.False(t, alike(digests(t, plain, 4, 1)))
}

// TestEachPinMatters switches pins off, one at a time. Then runs of one seed
// differ, or runs of two seeds do not.
func TestEachPinMatters(t *testing.T) {
	pinned, _ := needChild(t)
	const ( // as in runtime.go.txt
		pinRand = 1 << iota
		pinSelect
		pinTimer
		pinRetake
		pinTick
		pinMutex
		pinApart
		pinEntropy
		pinCache
	)
	for _, c := range []struct {
		name  string
		pin   int
		parts string
		deaf  bool // all else being pinned, the part does not depend on the seed
	}{
		{"rand", pinRand, "maps", false},
		{"select", pinSelect, "select", false},
		{"timer", pinTimer, "timers", false},
		{"retake", pinRetake, "spin", true},
		{"tick", pinTick, "crowd", true},
		{"mutex", pinMutex, "mutex", true},
		{"apart", pinApart, "swarm,crowd", false},
		{"cache", pinCache, "swarm,types", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"-noise=37us", "-parts", c.parts}
			on := digests(t, pinned, 3, 1, args...)
			require.True(t, alike(on), "with all pins: %v", on)
			other := digests(t, pinned, 1, 2, args...)
			require.Equal(t, c.deaf, alike(append(other, on...)), "another seed, with all pins")

			// The pin shows at some run, which one is chance.
			args = append(args, "-off", fmt.Sprint(c.pin))
			off := digests(t, pinned, 1, 1, args...)
			if !c.deaf && alike(append(off, digests(t, pinned, 1, 2, args...)...)) {
				return
			}
			for range 30 {
				if off = append(off, digests(t, pinned, 1, 1, args...)...); !alike(off) {
					return
				}
			}
			t.Errorf("without the pin 31 runs were equal, and depend on the seed")
		})
	}
}

func TestStall(t *testing.T) {
	pinned, plain := needChild(t)
	for name, path := range map[string]string{"pinned": pinned, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			c := runChild(t, path, 1, "-parts", "stuck", "-stall", "400ms")
			require.Equal(t, ExitStalled, c.code, c.errs)
			require.Contains(t, c.errs, "virtual time has stood at 2000-01-01T00:00:00Z")
			require.Contains(t, c.errs, "main.stuck", "the stack of the one who spins")
		})
	}
}

func TestOverrun(t *testing.T) {
	pinned, _ := needChild(t)
	c := runChild(t, pinned, 1, "-parts", "forever", "-limit", "1h")
	require.Equal(t, ExitOverran, c.code, c.errs)
	require.Contains(t, c.errs, "virtual time passed the limit of 1h0m0s")
	require.Contains(t, c.errs, "main.forever")
}

// TestQuietBoundsMemory: collections are off but for those of Quiet.
func TestQuietBoundsMemory(t *testing.T) {
	pinned, _ := needChild(t)
	mib := func(args ...string) (n int) {
		c := runChild(t, pinned, 1, append(args, "-parts", "garbage")...)
		_, err := fmt.Sscanf(c.errs[strings.Index(c.errs, "sys "):], "sys %d MiB", &n)
		require.NoError(t, err, c.errs)
		return n
	}
	with, without := mib(), mib("-quiet=false")
	t.Logf("1 GiB of garbage: %d MiB with Quiet each virtual second, %d MiB without", with, without)
	require.Less(t, with, 128)
	require.Greater(t, without, 1000)
}
