package gossip

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
)

func TestMeta(t *testing.T) {
	for name, c := range map[string]struct {
		meta Meta
		hex  string
	}{
		"nothing": {Meta{}, "01000000000000000000"},
		"all": {Meta{
			Bulk: 4001, Control: 4002, Release: 0xfe, Phase: member.Reverted, Progress: 10,
			Health: HealthBad, Flags: allFlags, Level: 255,
		}, "010fa10fa2fe9a027fff"},
		"fetching": {Meta{Bulk: 65535, Phase: member.Fetching, Progress: 3, Health: HealthGood, Flags: FlagVoter | FlagLeaving}, "01ffff00000013012100"},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.meta.Encode()
			require.Equal(t, c.hex, hex.EncodeToString(b))
			require.LessOrEqual(t, len(b), MaxMetaBytes)
			back, err := DecodeMeta(b)
			require.NoError(t, err)
			require.Equal(t, c.meta, back)
		})
	}
}

func TestMetaOutOfRangeIsWrittenInRange(t *testing.T) {
	m, err := DecodeMeta(Meta{Phase: 200, Progress: 200, Health: 200, Flags: 0xff}.Encode())
	require.NoError(t, err)
	require.Equal(t, Meta{Progress: 10, Flags: allFlags}, m)
}

func TestMetaOfTheFuture(t *testing.T) {
	m, err := DecodeMeta([]byte{2, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	require.Equal(t, Meta{Bulk: 0x0102, Control: 0x0304}, m)
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(Meta{Bulk: 1, Control: 2, Phase: member.Trial, Progress: 4, Flags: FlagHeld}.Encode())
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Add([]byte{2, 1, 2, 3, 4})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0xff, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMeta(b)
		switch {
		case err != nil:
			require.ErrorIs(t, err, ErrMeta)
			require.Zero(t, m)
		case b[0] == MetaFormat:
			require.Equal(t, b, m.Encode())
		default:
			require.Equal(t, Meta{Bulk: m.Bulk, Control: m.Control}, m)
		}
	})
}
