// Package exact makes a Go program replay: the same binary with the same seed
// gives the same run, event for event.
//
// A simulation inside a testing/synctest bubble already has its own clock. What
// is left to chance is the runtime: in which order select looks at its cases,
// where a map's iteration starts, when a goroutine is preempted, whether a
// background goroutine slips between two of ours. Overlay edits copies of the
// installed runtime's files, one small edit a [Patch], and Build compiles a
// program with them through `go build -overlay`; the toolchain itself is not
// touched. Env is the environment such a program needs.
//
// Inside the child, InBubble enters the bubble and never returns, Pinned tells
// whether the pins are really there, Quiet collects garbage at a moment that
// cannot disturb the replay. Writer records what happened and hashes it,
// Compare finds the first event in which two records differ.
//
//	built, err := exact.Build(ctx, exact.Source{Package: "./cmd/netsim"}, out)
//	cmd := exec.CommandContext(ctx, built.Path, args...)
//	cmd.Env = exact.Env(seed)
//
// and in the program itself
//
//	exact.InBubble(exact.Bubble{Seed: seed}, func(ctx context.Context) int { … })
//
// Such a program can also give the machines it simulates clocks of their own (UseClocks, As,
// SetClock), and answer the system calls that touch files (HookFiles; see package disk).
//
// If a patch does not fit the installed Go version, the program is built
// without any: it then runs in virtual time, not bit for bit, and both Built and
// Loose say so.
//
// What the program must do itself: start no process and wait for no real socket
// or pipe while it simulates (a blocking system call holds the only processor);
// keep its files under a relative path in an empty directory made before the
// bubble, because the length of a path moves memory addresses; decide nothing by
// process id, host name, file times or runtime statistics.
package exact
