package exact

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLooseHere: an ordinary test binary is not pinned, and says why.
func TestLooseHere(t *testing.T) {
	require.False(t, Pinned())
	t.Setenv("GOGC", "100")
	require.Contains(t, Loose(), `GOGC is "100" and not "off"`)
	t.Setenv("GOGC", "off")
	for _, why := range Loose() {
		require.NotContains(t, why, "GOGC")
	}
}

func TestSeedRoundTrip(t *testing.T) {
	t.Setenv(SeedVariable, "")
	_, err := Seed()
	require.ErrorContains(t, err, SeedVariable)
	require.Contains(t, Env(1<<63), SeedVariable+"=9223372036854775808")
	t.Setenv(SeedVariable, "9223372036854775808")
	seed, err := Seed()
	require.NoError(t, err)
	require.Equal(t, uint64(1<<63), seed)
}
