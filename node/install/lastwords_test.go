package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	old := "said by the one before\n"
	for _, c := range []struct{ name, log, want string }{
		{"nothing", old, ""},
		{"one line", old + "panic: no camera\n", "panic: no camera"},
		{"no end of line", old + "one\ntwo", "two"},
		{"empty lines after it", old + "two\n\n  \n", "two"},
		{"colours and rubbish", old + "\x1b[31mE\x1b[0m \xff\x00b\tc\n", "[31mE[0m ?b c"},
		{"trimmed meanwhile", "x\ny\n", "y"},
		{"long before it", old + strings.Repeat("word ", 5000) + "\nlast\n", "last"},
		{"long", old + strings.Repeat("ä", 200), strings.Repeat("ä", MaxSaid/2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(c.log), 0o600))
			got, err := lastWords(path, int64(len(old)))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.True(t, utf8.ValidString(got) && len(got) <= MaxSaid)
		})
	}
	got, err := lastWords(filepath.Join(t.TempDir(), "none"), 0)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = lastWords(t.TempDir(), 0)
	require.Error(t, err)
}

func TestExitText(t *testing.T) {
	x := Exit{Reason: "exit status 3", Said: "no camera", Log: "/var/log/nav"}
	require.Equal(t, "exit status 3: no camera (/var/log/nav)", x.Text())
	x.Log = "/var/lib/starling/slots/navigation/log"
	require.Equal(t, "exit status 3: no camera", x.Text(), "the words matter more than the place")
	require.Equal(t, "gone", Exit{Reason: "gone"}.Text())
}
