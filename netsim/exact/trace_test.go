package exact

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w, digestOnly := NewWriter(&out), NewWriter(nil)
		empty := w.Digest()
		for _, w := range []*Writer{w, digestOnly} {
			w.Event("m%d suspects m%d", 1, 2)
		}
		time.Sleep(1500 * time.Millisecond)
		for _, w := range []*Writer{w, digestOnly} {
			w.Event("two\nlines")
		}
		require.NoError(t, w.Flush())
		require.Equal(t, "+0.000000000s m1 suspects m2\n+1.500000000s two lines\n", out.String())
		require.Equal(t, 2, w.Events())
		require.NotEqual(t, empty, w.Digest())
		require.Equal(t, w.Digest(), digestOnly.Digest())

		digestOnly.Event("more")
		require.NotEqual(t, w.Digest(), digestOnly.Digest())
	})
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterReportsItsFirstError(t *testing.T) {
	w := NewWriter(full{})
	for range 10_000 {
		w.Event("some words to fill the buffer")
	}
	require.Equal(t, 10_000, w.Events(), "the digest goes on")
	require.ErrorIs(t, w.Flush(), errFull)
}

func TestCompare(t *testing.T) {
	lines := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintln(&b, "event", i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, a, b, want string }{
		{"both empty", "", "", ""},
		{"equal", lines(0, 5), lines(0, 5), ""},
		{"in the middle", lines(0, 9), lines(0, 4) + "other\n" + lines(5, 9), `first difference at event 4
  event 2
  event 3
- event 4
- event 5
- event 6
+ other
+ event 5
+ event 6
`},
		{"at the start", "x\n", "y\n", "first difference at event 0\n- x\n+ y\n"},
		{"one is shorter", lines(0, 2), lines(0, 3), `first difference at event 2
  event 0
  event 1
- (the record ends here)
+ event 2
`},
		{"one is empty", "", lines(0, 1), "first difference at event 0\n- (the record ends here)\n+ event 0\n"},
		{"one was cut off in a line", "event 0\nev", lines(0, 2), "first difference at event 1\n  event 0\n- ev\n+ event 1\n"},
		{"a line break is missing", "event 0\n", "event 0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Compare(strings.NewReader(c.a), strings.NewReader(c.b), 2)
			require.NoError(t, err)
			if c.want == "" {
				require.Nil(t, d)
				return
			}
			require.NotNil(t, d)
			require.Equal(t, c.want, d.String())
		})
	}
}

func TestCompareReportsReadErrors(t *testing.T) {
	bad := errors.New("bad sector")
	_, err := Compare(strings.NewReader("a\nb\n"), iotest.ErrReader(bad), 2)
	require.ErrorIs(t, err, bad)
}
