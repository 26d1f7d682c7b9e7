package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// progressEvery is how often a progress line may change: often enough to be seen to
// move, and nothing beside the work.
const progressEvery = 100 * time.Millisecond

// progress shows how far a piece of work is: one line that is written over on a
// terminal, a line for each tenth with --verbose, else nothing.
type progress struct {
	c     *cli
	what  string
	tty   bool
	began time.Time
	shown time.Time // when the terminal's line was last written
	tenth int64     // the last that was told
}

// progress starts a line for work called what, such as "build app 1.0". The caller
// ends it with done.
func (c *cli) progress(what string) *progress {
	f, ok := c.err.(*os.File)
	return &progress{c: c, what: what, tty: ok && term.IsTerminal(int(f.Fd())), began: time.Now()}
}

// tell is called with how many bytes of how many are done.
func (p *progress) tell(done, total int64) {
	if p.c.quiet || p.c.json || total == 0 {
		return
	}
	now := time.Now()
	switch {
	case p.tty && (now.Sub(p.shown) >= progressEvery || done == total):
		p.shown = now
		fmt.Fprintf(p.c.err, "\r%s  %s\x1b[K", p.what, progressWords(done, total, now.Sub(p.began)))
	case !p.tty && p.c.verbose && done*10/total > p.tenth:
		p.tenth = done * 10 / total
		fmt.Fprintf(p.c.err, "%s  %s\n", p.what, progressWords(done, total, now.Sub(p.began)))
	}
}

// done takes the terminal's line away.
func (p *progress) done() {
	if !p.shown.IsZero() {
		fmt.Fprint(p.c.err, "\r\x1b[K")
	}
}

// progressWords is "40 %  412.0 MiB of 1.0 GiB, 310.2 MiB/s".
func progressWords(done, total int64, took time.Duration) string {
	s := fmt.Sprintf("%3d %%  %s of %s", done*100/total, bytesWords(done), bytesWords(total))
	if took >= time.Second {
		s += fmt.Sprintf(", %s/s", bytesWords(int64(float64(done)/took.Seconds())))
	}
	return s
}
