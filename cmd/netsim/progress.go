package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/starling-swarm/starling/netsim"
)

// A progress shows what runs do while they do it: on a terminal one line that changes,
// elsewhere a line for each change.
type progress struct {
	out        io.Writer
	all, quiet bool
	live       bool
	runs       int
	began      time.Time

	mu   sync.Mutex
	over int               // guarded by mu, like all below: runs that have ended
	bad  int               // that went wrong
	last map[string]string // by machine and kind: what was shown of it
	told time.Time         // when far last wrote a line
	open bool              // the live line is on the screen
}

func newProgress(out io.Writer, runs int, all, quiet bool) *progress {
	f, ok := out.(*os.File)
	return &progress{
		out: out, runs: runs, all: all, quiet: quiet, live: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb",
		began: time.Now(), last: map[string]string{},
	}
}

// shown are the kinds of notes that are worth a line without --verbose.
var shown = map[string]bool{"order": true, "fault": true, "fault-over": true, "step": true, "step-failed": true, "violation": true, "leader": true, "genesis": true, "start-failed": true}

// note shows what happened in the only run.
func (p *progress) note(n netsim.Note) {
	if p.quiet || !p.all && (p.live || !shown[n.Kind]) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := n.Machine + " " + n.Kind
	if !p.all && n.Kind == "step-failed" && p.last[key] == n.Text { // tried again, with the same end
		return
	}
	p.last[key] = n.Text
	p.clear()
	fmt.Fprintf(p.out, "%9.3fs %-12s %-10s %s\n", n.At.Seconds(), n.Machine, n.Kind, n.Text)
}

// beat shows how far the only run is.
func (p *progress) beat(b netsim.Beat) {
	if p.quiet || !p.live {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	text := "robots join"
	if b.Release != "" {
		text = fmt.Sprintf("%s %s in %s, on %d of %d", b.Release, b.Status, b.Stage, b.Committed, b.For)
	}
	p.replace(fmt.Sprintf("%s  %s  %.0f x", time.Duration(b.At*1e9).Round(time.Second), text, b.At/max(time.Since(p.began).Seconds(), 0.001)))
}

// done counts a run that has ended.
func (p *progress) done(r *netsim.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over++
	if !r.OK() {
		p.bad++
	}
	if p.quiet || p.runs == 1 {
		return
	}
	text := fmt.Sprintf("%d of %d runs, %d went wrong, %.0f s", p.over, p.runs, p.bad, time.Since(p.began).Seconds())
	if p.live {
		p.replace(text)
	} else {
		fmt.Fprintln(p.out, text)
	}
}

// farEvery is how often a sweep that nobody watches says how far it is.
const farEvery = time.Minute

// far shows how far a sweep is.
func (p *progress) far(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text = fmt.Sprintf("%s  %s", time.Since(p.began).Round(time.Second), text)
	switch {
	case p.quiet:
	case p.live:
		p.replace(text)
	case time.Since(p.told) >= farEvery:
		p.told = time.Now()
		fmt.Fprintln(p.out, text)
	}
}

// warn says why runs will not be exact.
func (p *progress) warn(loose error) {
	if loose != nil && !p.quiet {
		fmt.Fprintf(p.out, "runs are not exact: %v\n", loose)
	}
}

// end takes the live line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) replace(text string) {
	fmt.Fprint(p.out, "\r\x1b[K"+text)
	p.open = true
}

func (p *progress) clear() {
	if p.open {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.open = false
}
