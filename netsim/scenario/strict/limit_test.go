package strict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The worst that fits the bounds is read, or refused, before anybody wonders.
func TestHostileDocumentsTakeNoTime(t *testing.T) {
	type wide struct {
		A []string          `yaml:"a"`
		L map[string]string `yaml:"l"`
	}
	var keys strings.Builder
	for i := range MaxLines - 2 {
		fmt.Fprintf(&keys, "  k%d: v\n", i)
	}
	for name, in := range map[string]string{
		"items in a flow": "a: [" + strings.Repeat("x, ", 100_000) + "x]",
		"items":           "a:\n" + strings.Repeat("  - x\n", MaxLines-2),
		"keys":            "l:\n" + keys.String(),
		"empty items":     strings.Repeat("-\n", MaxLines-1),
		"open brackets":   strings.Repeat("[\n", MaxLines-1),
		"open braces":     strings.Repeat("{a: ", 100_000),
		"tags":            strings.Repeat("!!str ", 100_000),
		"anchors":         strings.Repeat("&a ", 100_000),
		"documents":       strings.Repeat("---\n", MaxLines-1),
		"comments":        strings.Repeat("# x\n", MaxLines-1),
		"empty lines":     strings.Repeat("\n", MaxLines-1),
	} {
		began := time.Now()
		_, _ = Decode("a.yaml", []byte(in), new(wide)) // either answer will do
		require.Less(t, time.Since(began), 10*time.Second, name)
	}
}
