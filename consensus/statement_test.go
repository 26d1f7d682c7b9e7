package consensus

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSignedStatementGolden(t *testing.T) {
	st := statement(7, "order")
	s := SignedStatement{Statement: st, Signature: st.Sign(key(1)), Certified: 5}
	got := hex.EncodeToString(s.Encode()) + "\n"
	path := filepath.Join("testdata", "signed.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	back, err := DecodeSigned(s.Encode())
	require.NoError(t, err)
	require.Equal(t, s, back)
	require.LessOrEqual(t, len(s.Encode()), MaxSignedBytes)
}

func FuzzDecodeSigned(f *testing.F) {
	st := statement(7, "order")
	f.Add(SignedStatement{Statement: st, Signature: st.Sign(key(1))}.Encode())
	f.Add([]byte{0xa1, 0x00, 0x02})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSigned(data)
		if err != nil {
			require.Equal(t, SignedStatement{}, s)
			return
		}
		require.Equal(t, data, s.Encode())
	})
}
