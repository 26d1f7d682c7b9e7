package netsim

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// reporter is who a signed report says has run the simulation.
const reporter = "netsim rehearse"

// A Subject is what is rehearsed: a plan and its release, both verified.
type Subject struct {
	Sealed  []byte // the plan's envelope
	Plan    *rollout.Plan
	Release *manifest.Release
	trust   *trust.Set
}

// OpenSubject reads a signed plan and a signed release, a .star file, that belong
// together. Both are verified under the trust root that the release carries: whether
// that is the swarm's own shows when the report comes there. It returns an error
// wrapping ErrRehearsal if they do not belong together, or nobody has signed the
// release yet.
func OpenSubject(planPath, releasePath string) (*Subject, error) {
	s := &Subject{}
	var err error
	if s.Release, s.trust, err = openRelease(releasePath); err != nil {
		return nil, err
	}
	if s.Sealed, err = os.ReadFile(planPath); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	unproven, err := DecodePlan(s.Sealed) // which swarm its signature is for
	if err == nil {
		s.Plan, _, err = rollout.OpenPlan(s.Sealed, unproven.Swarm, s.trust.Roles().Plan)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", planPath, err)
	}
	if s.Plan.Release != s.Release.Ref() {
		return nil, fmt.Errorf("%w: %s is for %s %s, and %s is %s", ErrRehearsal, planPath, s.Plan.Component, s.Plan.Release, releasePath, s.Release.Ref())
	}
	return s, nil
}

// openRelease reads a release and the trust documents that list it.
func openRelease(path string) (*manifest.Release, *trust.Set, error) {
	b, err := bundle.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer b.Close() // it was only read
	if len(b.Metadata()) == 0 {
		return nil, nil, fmt.Errorf("%w: %s is not signed by the owner yet: starling release sign", ErrRehearsal, path)
	}
	docs, err := trust.DecodeBundle(b.Metadata())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(docs.Roots) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no trust root", ErrRehearsal, path)
	}
	set, err := trust.Open(manifest.Sum(docs.Roots[0]), docs, nil, time.Time{})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	rel, err := set.VerifyRelease(b.ReleaseBytes())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return rel, set, nil
}

// DecodePlan reads a plan's envelope without its signatures.
func DecodePlan(sealed []byte) (*rollout.Plan, error) {
	e, err := envelope.Decode(sealed, envelope.Plan)
	if err != nil {
		return nil, err
	}
	var p rollout.Plan
	if err := e.Open(rollout.LimitedPlanFormat, &p); err != nil {
		return nil, err
	}
	return &p, p.Check()
}

// MaySign reports whether a report signed with key counts under the release's trust root.
func (s *Subject) MaySign(key ed25519.PrivateKey) bool {
	return slices.Contains(s.trust.Roles().Report.Keys, envelope.KeyOf(key))
}

// Sign makes the report that opens the sim stage of any rollout of the release, and the
// details that it names by their digest: all runs, as JSON. A series with a run that
// went wrong is not signed.
func (s *Subject) Sign(runs *Series, key ed25519.PrivateKey) (report, details []byte, err error) {
	if runs.Failed > 0 {
		return nil, nil, fmt.Errorf("%w: %d of %d runs went wrong", ErrRehearsal, runs.Failed, len(runs.Runs))
	}
	if details, err = json.Marshal(runs); err != nil {
		return nil, nil, err
	}
	r := rollout.Report{
		Format: rollout.ReportFormat, Stage: order.Sim, Release: s.Release.Digest(), Passed: true, By: reporter,
		Runs: uint32(len(runs.Runs)), Details: manifest.Sum(details),
		Summary: fmt.Sprintf("plan %s on %s: at most %.1f %% of seeds go wrong (95 %%); %s",
			s.Name(), runs.Scenario, 100*runs.UpperBound, RehearsalJudges),
	}
	return r.Seal(envelope.TrustScope(s.trust.Root())).Sign(key).Encode(), details, nil
}

// Name is the plan's, in short.
func (s *Subject) Name() string { return manifest.Sum(s.Sealed).Short() }
