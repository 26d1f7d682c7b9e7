package consensus

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// bridge hands what raft and its log store say to slog. A raft error is one
// missed heartbeat or a refused vote, several a second while a voter is switched
// off, so everything is for debugging here; what a person must know is logged by
// this package.
type bridge struct {
	log  *slog.Logger
	args []any
	name string
}

func newBridge(l *slog.Logger) hclog.Logger { return &bridge{log: l, name: "raft"} }

var bridged = map[hclog.Level]slog.Level{
	hclog.Trace: slog.LevelDebug - 4, hclog.Debug: slog.LevelDebug - 4, hclog.Info: slog.LevelDebug,
	hclog.Warn: slog.LevelDebug, hclog.Error: slog.LevelDebug,
}

// Log implements hclog.Logger.
func (b *bridge) Log(level hclog.Level, msg string, args ...any) {
	at, ok := bridged[level]
	if !ok || !b.log.Enabled(context.Background(), at) { // hclog hands no context on
		return
	}
	b.log.Log(context.Background(), at, b.name+": "+msg, args...)
}

func (b *bridge) Trace(msg string, args ...any) { b.Log(hclog.Trace, msg, args...) }
func (b *bridge) Debug(msg string, args ...any) { b.Log(hclog.Debug, msg, args...) }
func (b *bridge) Info(msg string, args ...any)  { b.Log(hclog.Info, msg, args...) }
func (b *bridge) Warn(msg string, args ...any)  { b.Log(hclog.Warn, msg, args...) }
func (b *bridge) Error(msg string, args ...any) { b.Log(hclog.Error, msg, args...) }

func (b *bridge) enabled(l hclog.Level) bool {
	return b.log.Enabled(context.Background(), bridged[l])
}
func (b *bridge) IsTrace() bool { return b.enabled(hclog.Trace) }
func (b *bridge) IsDebug() bool { return b.enabled(hclog.Debug) }
func (b *bridge) IsInfo() bool  { return b.enabled(hclog.Info) }
func (b *bridge) IsWarn() bool  { return b.enabled(hclog.Warn) }
func (b *bridge) IsError() bool { return b.enabled(hclog.Error) }

func (b *bridge) ImpliedArgs() []any { return b.args }
func (b *bridge) Name() string       { return b.name }

func (b *bridge) With(args ...any) hclog.Logger {
	return &bridge{log: b.log.With(args...), args: append(b.args[:len(b.args):len(b.args)], args...), name: b.name}
}

func (b *bridge) Named(name string) hclog.Logger      { return b.ResetNamed(b.name + "." + name) }
func (b *bridge) ResetNamed(name string) hclog.Logger { c := *b; c.name = name; return &c }
func (b *bridge) SetLevel(hclog.Level)                {}
func (b *bridge) GetLevel() hclog.Level               { return hclog.Debug }

func (b *bridge) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(b.StandardWriter(o), "", 0)
}
func (b *bridge) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lines{b} }

// lines is the io.Writer for libraries that know no levels.
type lines struct{ b *bridge }

func (w lines) Write(p []byte) (int, error) {
	w.b.Info(string(p))
	return len(p), nil
}
