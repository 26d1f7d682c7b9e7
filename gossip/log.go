package gossip

import (
	"context"
	stdlog "log"
	"log/slog"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
)

const (
	// logPerSecond and logBurst bound what memberlist may say above debug: a
	// stranger's packets draw one line each.
	logPerSecond = 1
	logBurst     = 20
)

// A bridge carries memberlist's log to slog. memberlist writes "[WARN]
// memberlist: text", often under its lock; what it calls an error is a peer
// that did not answer, so nothing is logged above warn.
type bridge struct {
	log   *slog.Logger
	limit *rate.Limiter
	mute  atomic.Bool // set while sockets close under memberlist
	// suspect is told the name of a member that this node begins to suspect:
	// memberlist tells nobody but its log.
	suspect func(name string)
	count   *counters
}

func newBridge(log *slog.Logger, count *counters, suspect func(string)) *bridge {
	return &bridge{log: log, limit: rate.NewLimiter(logPerSecond, logBurst), suspect: suspect, count: count}
}

func (b *bridge) logger() *stdlog.Logger { return stdlog.New(b, "", 0) }

// Write takes one line. It is part of io.Writer.
func (b *bridge) Write(line []byte) (int, error) {
	if b.mute.Load() {
		return len(line), nil
	}
	level, text := parseLine(string(line))
	if name, ok := suspected(text); ok {
		b.suspect(name)
	}
	// Background: a log line belongs to no request.
	ctx := context.Background()
	switch {
	case !b.log.Enabled(ctx, level):
	case level > slog.LevelDebug && !b.limit.Allow():
		b.count.linesSuppressed.Add(1)
	default:
		b.log.Log(ctx, level, "memberlist reports", "text", text)
	}
	return len(line), nil
}

// parseLine takes memberlist's prefixes off a line.
func parseLine(line string) (slog.Level, string) {
	line = strings.TrimSpace(line)
	level := slog.LevelInfo
	if tag, rest, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(tag, "[") {
		switch tag {
		case "[DEBUG", "[TRACE":
			level, line = slog.LevelDebug, rest
		case "[INFO":
			line = rest
		case "[WARN", "[ERR", "[ERROR":
			level, line = slog.LevelWarn, rest
		}
	}
	return level, strings.TrimPrefix(line, "memberlist: ")
}

// suspected finds the member in "Suspect 7 has failed, no acks received".
func suspected(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, "Suspect ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, " has failed, no acks received")
}
