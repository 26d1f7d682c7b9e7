package main

import (
	"context"
	"log/slog"
	"sync"
)

// A joinLog shows people what a node that wants to join warns of, each thing once,
// and remembers the last for the end.
type joinLog struct {
	slog.Handler // discards
	say          func(format string, args ...any)

	mu    sync.Mutex // guards what is below; never held while say writes
	last  string
	quiet bool // the node has joined, and what it says as it ends worries nobody
}

func newJoinLog(say func(format string, args ...any)) *joinLog {
	return &joinLog{Handler: slog.DiscardHandler, say: say}
}

// Enabled takes warnings and errors.
func (*joinLog) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// WithAttrs and WithGroup add nothing: it is the cause that people must see.
func (j *joinLog) WithAttrs([]slog.Attr) slog.Handler { return j }

// WithGroup is WithAttrs' twin.
func (j *joinLog) WithGroup(string) slog.Handler { return j }

// Handle shows the message with its cause, if that is news.
func (j *joinLog) Handle(_ context.Context, r slog.Record) error {
	text, said := r.Message, false
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text += ": " + a.Value.String()
		}
		said = said || a.Key == "profile" // the command has warned of it, and named the file
		return true
	})
	j.mu.Lock()
	show := !j.quiet && !said && text != j.last
	if show {
		j.last = text
	}
	j.mu.Unlock()
	if show {
		j.say("  %s", text)
	}
	return nil
}

// hush ends the showing.
func (j *joinLog) hush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.quiet = true
}

// cause is what was shown last; "" if nothing was.
func (j *joinLog) cause() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}
