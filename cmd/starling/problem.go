package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/join"
)

// outcome ends the program with a code after everything was said: a rollout that
// was taken back is no error of the command that waited for it.
type outcome struct{ code api.Code }

func (o outcome) Error() string { return string(o.code) }

// usageError is a complaint about how a command was called.
func usageError(reason string) error { return problem(api.Usage, "", "%s", reason) }

// problem says what happened and why, and in next what to do.
func problem(code api.Code, next, format string, args ...any) error {
	return &api.Problem{Schema: api.ProblemSchema, Code: code, Reason: fmt.Sprintf(format, args...), Next: next}
}

// causes are errors that arise here and not in the agent, which package api does
// not know. The first match counts.
var causes = []struct {
	err  error
	code api.Code
	next string
}{
	{trust.ErrPassphrase, api.Usage, "type it again, or name the right file with --passphrase-file"},
	{trust.ErrKeyFile, api.Usage, "restore the key file from its copy"},
	{trust.ErrTaken, api.Refused, "starling release build with a new version and a higher --counter"},
	{trust.ErrSigner, api.Refused, "look for the key file of this swarm: --dir"},
	{rollout.ErrPlan, api.Usage, "change the plan's flags"},
	{rollout.ErrImpossible, api.Usage, "change the plan's flags"},
	{rollout.ErrExpired, api.Refused, "make a new plan: starling rollout plan"},
	{manifest.ErrInvalid, api.Usage, "correct what it names and build again"},
	{bundle.ErrPlatforms, api.Usage, "build one --variant per platform: --variant arm=PATH,platform=linux/arm64"},
	{join.ErrInvite, api.Usage, "ask the operator for a new invite: starling invite"},
	{canonical.ErrTooLarge, api.Usage, "look for the right file"},
	{fs.ErrNotExist, api.Usage, "check the path"},
	{syscall.ENOSPC, api.Failed, "make room on the disk, or write to another"},
	{fs.ErrPermission, api.Failed, "check who owns it"},
}

// problemOf puts an error into the form in which it is shown.
func problemOf(err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	var damaged *bundle.DamagedError // it may wrap a cause below, of which a person can mend nothing
	for _, c := range causes {
		if errors.Is(err, c.err) && !errors.As(err, &damaged) {
			return &api.Problem{Schema: api.ProblemSchema, Code: c.code, Reason: err.Error(), Next: c.next}
		}
	}
	return api.ProblemOf(err)
}

// end shows err, if any, and returns the exit code.
func (c *cli) end(err error) int {
	if err == nil {
		return api.Done.Info().Exit
	}
	var o outcome
	if errors.As(err, &o) {
		return o.code.Info().Exit
	}
	p := problemOf(err)
	if c.json {
		c.printJSON(p)
		return p.Code.Info().Exit
	}
	fmt.Fprintf(c.err, "error: %s\n", p.Reason)
	if p.Next != "" {
		fmt.Fprintf(c.err, "→ %s\n", p.Next)
	}
	return p.Code.Info().Exit
}

// ended is the error of a wait that ctx has ended; the text says what is still true.
func ended(ctx context.Context, format string, args ...any) error {
	p := api.ProblemOf(ctx.Err())
	return problem(p.Code, p.Next, format, args...)
}
