package gossip

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

func TestStatementSize(t *testing.T) {
	s := statement{heard: Heard{pointer(100), 12}, left: manifest.Bitmap{1}}
	require.Len(t, s.encode(kindPointer), 36, "it rides in every ping acknowledgement")
	require.Len(t, s.encode(kindState), 37)
}

func FuzzMessages(f *testing.F) {
	s := statement{heard: Heard{pointer(1 << 40), 1023}, left: manifest.Bitmap{0, 0x80}}
	f.Add(s.encode(kindPointer))
	f.Add(s.encode(kindState))
	f.Add((&statement{}).encode(kindState))
	f.Add(ask{7, "10.0.0.1:7946"}.encode())
	f.Add(ask{7, "[fd00::1]:7946"}.encode())
	f.Add(answer{7, 8, 9}.encode())
	f.Add([]byte{kindPointer, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range []byte{kindPointer, kindState} {
			if s, err := decodeStatement(b, kind); err == nil {
				require.Equal(t, b, s.encode(kind))
			} else {
				require.Zero(t, s)
			}
		}
		if a, err := decodeAsk(b); err == nil {
			require.Equal(t, b, a.encode())
		} else {
			require.Zero(t, a)
		}
		if a, err := decodeAnswer(b); err == nil {
			require.Equal(t, b, a.encode())
		} else {
			require.Zero(t, a)
		}
	})
}
