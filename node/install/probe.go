package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxProbeBody bounds what is read of an HTTP answer or a file.
	maxProbeBody = 64 << 10

	// DefaultProbeEvery is how often a probe asks.
	DefaultProbeEvery = 2 * time.Second
	// DefaultProbeTimeout is how long an answer may take.
	DefaultProbeTimeout = 5 * time.Second
	// DefaultFailAfter is how many failures in a row count.
	DefaultFailAfter = 3
)

// A Prober asks one question of the payload: nil is well.
type Prober interface {
	Probe(ctx context.Context) error
}

// ExecProbe runs a command; exit 0 is well.
type ExecProbe struct {
	Argv []string
	Dir  string
	Env  []string // beside ours
}

// Probe runs the command, and kills its process group when ctx ends.
func (p ExecProbe) Probe(ctx context.Context) error {
	if len(p.Argv) == 0 {
		return ErrNoCommand
	}
	timeout := DefaultScriptTimeout
	if end, ok := ctx.Deadline(); ok {
		timeout = time.Until(end)
	}
	c := call{name: p.Argv[0], argv: p.Argv, dir: p.Dir, env: p.Env, input: struct{}{}, timeout: max(timeout, 1)}
	_, err := c.run(ctx)
	return err
}

// HTTPProbe gets a URL; a 2xx answer is well.
type HTTPProbe struct {
	URL string
	// Client is used for the request; nil means one that follows no redirect.
	Client *http.Client
}

var probeClient = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Probe sends the request, and reads the answer so far as to keep the connection.
func (p HTTPProbe) Probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	client := p.Client
	if client == nil {
		client = probeClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeBody))
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s: %s", resp.Status, firstLine(body))
	}
	return nil
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return string(line[:min(len(line), 200)])
}

// FileProbe looks at a file that the payload writes.
type FileProbe struct {
	Path     string
	Contains string        // text that must be in its first 64 KiB; empty is any
	MaxAge   time.Duration // how long ago it may have been written; zero is ever
}

// Probe reads the file.
func (p FileProbe) Probe(context.Context) error {
	in, err := os.Open(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there", filepath.Base(p.Path))
	}
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if age := time.Since(st.ModTime()); p.MaxAge > 0 && age > p.MaxAge {
		return fmt.Errorf("%s is %v old, at most %v is well", filepath.Base(p.Path), age.Round(time.Second), p.MaxAge)
	}
	if p.Contains == "" {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(in, maxProbeBody))
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte(p.Contains)) {
		line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
		return fmt.Errorf("%s says %q, not %q", filepath.Base(p.Path), line[:min(len(line), 60)], p.Contains)
	}
	return nil
}

// A Watch is a prober, and how its answers are counted.
type Watch struct {
	Name   string // for people, unique
	Prober Prober
	// Every is from one question to the next; zero means DefaultProbeEvery.
	Every time.Duration
	// Timeout is how long an answer may take; zero means DefaultProbeTimeout.
	Timeout time.Duration
	// FailAfter failures in a row are one failure of the payload; zero means
	// DefaultFailAfter.
	FailAfter int
	// StartAfter gives a payload time to come up: until it has passed, or the probe
	// was well once, failures do not count.
	StartAfter time.Duration
}

func (w *Watch) fill() error {
	if w.Name == "" || w.Prober == nil || w.Every < 0 || w.Timeout < 0 || w.FailAfter < 0 || w.StartAfter < 0 {
		return fmt.Errorf("install: probe %q: needs a name and a question, and no time may be negative", w.Name)
	}
	if w.Every == 0 {
		w.Every = DefaultProbeEvery
	}
	if w.Timeout == 0 {
		w.Timeout = DefaultProbeTimeout
	}
	if w.FailAfter == 0 {
		w.FailAfter = DefaultFailAfter
	}
	return nil
}

// ask puts the question once, within the timeout.
func (w *Watch) ask(ctx context.Context) error {
	timed, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	err := w.Prober.Probe(timed)
	if err != nil && timed.Err() != nil && ctx.Err() == nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("no answer within %v", w.Timeout)
	}
	return err
}
