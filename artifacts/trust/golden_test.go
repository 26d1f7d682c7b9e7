package trust

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata anew")

// Robots in the field must read tomorrow what was signed today, whatever
// version of go-tuf writes the next bundle.
func TestGoldenBundle(t *testing.T) {
	const file = "testdata/bundle.txt"
	b := publish(t, initSolo(t), day1, release("app", "1.4.2", 7), release("cam", "0.9", 1))
	b, err := RotateRoot(b, RootChange{Owner: pubs("own", "own2"), Operator: pubs("op", "op2")}, solo, day2)
	require.NoError(t, err)
	s := open(t, b, nil)
	ref := s.Ref()
	text := "# A bundle after one publication and one rotation, in hexadecimal.\n" +
		fmt.Sprintf("expect: root=%s versions=%d/%d/%d/%d digest=%s expires=%s", s.Root(), ref.Root, ref.Timestamp, ref.Snapshot, ref.Targets, ref.Digest, s.Expires().Format(time.RFC3339))
	for _, l := range s.Releases() {
		text += fmt.Sprintf("\nexpect: %s counter=%d bytes=%d %s", l.Component, l.Ref.Counter, l.Bytes, l.Ref)
	}
	text += "\n" + hex.EncodeToString(b.Encode()) + "\n"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text)

	lines := strings.Split(strings.TrimSpace(string(want)), "\n")
	raw, err := hex.DecodeString(lines[len(lines)-1])
	require.NoError(t, err)
	old, err := DecodeBundle(raw)
	require.NoError(t, err)
	require.Equal(t, ref, open(t, old, b).Ref())
}
