package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
)

// A Code says how something ended, in a word for tools. Each has an exit code.
type Code string

// The codes. More may be added; an unknown one is a failure.
const (
	Done         Code = "done"
	Failed       Code = "failed"
	Usage        Code = "usage"
	Halted       Code = "halted"
	Waiting      Code = "waiting"
	TimedOut     Code = "timed_out"
	NoQuorum     Code = "no_quorum"
	Unreachable  Code = "unreachable"
	BadSignature Code = "bad_signature"
	Refused      Code = "refused"
	Threshold    Code = "threshold"
	Partly       Code = "partly"
	Locked       Code = "locked"
	Interrupted  Code = "interrupted"
)

// A CodeInfo is one row of the table of codes.
type CodeInfo struct {
	Code    Code   `json:"code"`
	Exit    int    `json:"exit"` // of the process
	HTTP    int    `json:"-"`    // status of an answer with this code
	Meaning string `json:"meaning"`
}

// codes is the one table from which exit codes, answers and their documentation
// come.
var codes = []CodeInfo{
	{Done, 0, http.StatusOK, "done, or the condition is reached"},
	{Failed, 1, http.StatusInternalServerError, "failed for a reason that has no code of its own"},
	{Usage, 2, http.StatusBadRequest, "usage or configuration error, or no such thing"},
	{Halted, 3, http.StatusConflict, "the rollout is halted or was rolled back"},
	{Waiting, 4, http.StatusConflict, "waiting for a person (paused, or ready to go on)"},
	{TimedOut, 5, http.StatusGatewayTimeout, "the wait timed out; the rollout goes on"},
	{NoQuorum, 6, http.StatusServiceUnavailable, "no quorum: too few voters are reachable"},
	{Unreachable, 7, http.StatusServiceUnavailable, "the agent is not reachable, or has not joined yet"},
	{BadSignature, 8, http.StatusUnprocessableEntity, "a signature or hash is wrong"},
	{Refused, 9, http.StatusConflict, "refused: not permitted, revoked, quarantined, or somebody else was first"},
	{Threshold, 10, http.StatusConflict, "a simulation or rehearsal crossed a threshold"},
	{Partly, 11, http.StatusConflict, "partly done: some robots were not reachable"},
	{Locked, 12, http.StatusLocked, "another instance holds the directory or the socket"},
	{Interrupted, 130, 499, "interrupted; what the swarm does is not affected"},
}

// Codes is the table of codes, by exit code.
func Codes() []CodeInfo { return slices.Clone(codes) }

// Info is the row of c; that of Failed for an unknown code.
func (c Code) Info() CodeInfo {
	for _, i := range codes {
		if i.Code == c {
			return i
		}
	}
	return codes[1]
}

// ProblemSchema is the schema of a Problem.
const ProblemSchema = "starling.problem/v1"

// A Problem is an error with what a person can do about it. It is the body of
// every answer that is not a success.
type Problem struct {
	Schema string `json:"schema"`
	Code   Code   `json:"code"`
	Reason string `json:"reason"` // what happened and why
	Next   string `json:"next"`   // what to do; may be empty
	status int
	cause  error
}

// Error is the reason, and what to do.
func (p *Problem) Error() string {
	if p.Next == "" {
		return p.Reason
	}
	return p.Reason + "; next: " + p.Next
}

// Unwrap is what caused the problem, on the side where it arose.
func (p *Problem) Unwrap() error { return p.cause }

// causes say what code an error has, and what to do about it. The first match
// counts.
var causes = []struct {
	err  error
	code Code
	next string
}{
	{node.ErrNotReady, Unreachable, "starling status"},
	{node.ErrNotOperator, Refused, "run it on the operator's laptop, while its agent runs: starling agent"},
	{node.ErrNoMember, Usage, "starling node ls"},
	{node.ErrNoRollout, Usage, "starling rollout ls"},
	{node.ErrNoImage, Usage, "give the agent the image: starling release import FILE.star"},
	{node.ErrNoRelease, Usage, "starling release ls"},
	{node.ErrNeeded, Refused, "it can go when another release has taken its place"},
	{node.ErrNoDocument, Usage, "try again when more members are reachable"},
	{node.ErrNotJoined, Usage, "starling join FILE"},
	{node.ErrLocked, Locked, "stop the other process, or give this one another directory"},
	{ErrInUse, Locked, "stop the other process, or set another socket under api:"},
	{node.ErrPortTaken, Usage, "stop the other process, or choose another port under listen:"},
	{node.ErrNoQuorum, NoQuorum, "starling status: it says which voters must be on"},
	{node.ErrOvertaken, Refused, "do it again, upon what is published now: starling ship, or starling release sign FILE"},
	{node.ErrProposal, Refused, "starling rollout explain"},
	{node.ErrRefused, Refused, "ask the operator for a new invite: starling invite"},
	{bundle.ErrNotBundle, Usage, "name a .star file; make one: starling release build"},
	{envelope.ErrUnsigned, BadSignature, "sign it with the right key"},
	{trust.ErrUnsigned, BadSignature, "sign it with the owner keys that are missing"},
	{trust.ErrRoot, BadSignature, "this is another owner's; look for the right file"},
	{trust.ErrNotListed, BadSignature, "publish it first, or fetch newer trust metadata"},
	{manifest.ErrDigest, BadSignature, "fetch or build the file again"},
	{trust.ErrRollback, Refused, "fetch the current trust metadata and try again"},
	{trust.ErrFork, Refused, "somebody else published first: fetch the current trust metadata and publish again"},
	{trust.ErrLeap, Refused, "an operator's key may be in wrong hands: rotate it"},
	{halt.ErrOld, Refused, "sign a token with a higher counter"},
	{install.ErrGateMode, Usage, "starling gate show"},
	{install.ErrLease, Usage, "give an owner's name and a time of at most a day"},
	{store.ErrFull, Failed, "make room on the disk"},
	{config.ErrConfig, Usage, "correct the configuration"},
	{node.ErrConfig, Usage, "correct the configuration"},
	{join.ErrInvite, Usage, "ask the operator for a new invite: starling invite"},
	{node.ErrRequest, Usage, ""},
	{canonical.ErrFuture, Usage, "update starling"},
	{canonical.ErrMalformed, Usage, "look for the right file"},
	{trust.ErrMalformed, Usage, "look for the right file"},
	{context.DeadlineExceeded, TimedOut, "try again, or give it more time"},
	{context.Canceled, Interrupted, ""},
}

// notFound are errors about things that are not there.
var notFound = []error{node.ErrNoMember, node.ErrNoRollout, node.ErrNoRelease, node.ErrNoDocument}

// ProblemOf puts err into the form of a Problem; nil for nil.
func ProblemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	p = &Problem{Schema: ProblemSchema, Code: Failed, Reason: err.Error(), cause: err}
	var damaged *bundle.DamagedError // whatever it wraps: the file is what a person can mend
	if errors.As(err, &damaged) {
		p.Code, p.Next = BadSignature, "copy the file again from where it was built"
		p.status = p.Code.Info().HTTP
		return p
	}
	for _, c := range causes {
		if errors.Is(err, c.err) {
			p.Code, p.Next = c.code, c.next
			break
		}
	}
	p.status = p.Code.Info().HTTP
	for _, e := range notFound {
		if errors.Is(err, e) {
			p.status = http.StatusNotFound
		}
	}
	return p
}

// ExitCode is what a process ends with after err.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return ProblemOf(err).Code.Info().Exit
}
