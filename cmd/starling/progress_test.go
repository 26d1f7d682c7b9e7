package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressInAPipe(t *testing.T) {
	for name, c := range map[string]struct {
		cli  cli
		want string
	}{
		"silent":            {cli{}, ""},
		"verbose":           {cli{verbose: true}, "build   50 %  1.0 MiB of 2.0 MiB\nbuild  100 %  2.0 MiB of 2.0 MiB\n"},
		"verbose and quiet": {cli{verbose: true, quiet: true}, ""},
		"verbose in JSON":   {cli{verbose: true, json: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c.cli.err = &out
			p := c.cli.progress("build")
			for _, done := range []int64{1 << 20, 1<<20 + 1, 2 << 20} {
				p.tell(done, 2<<20)
			}
			p.done()
			require.Equal(t, c.want, out.String())
		})
	}
	require.Equal(t, " 25 %  512.0 MiB of 2.0 GiB, 256.0 MiB/s", progressWords(512<<20, 2<<30, 2*time.Second))
}
