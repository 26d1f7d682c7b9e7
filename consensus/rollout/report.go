package rollout

import (
	"fmt"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// Seal puts r into an unsigned envelope for every swarm of the trust root.
func (r *Report) Seal(trustScope string) *envelope.Envelope {
	return envelope.New(envelope.Report, ReportFormat, trustScope, r)
}

// OpenReport verifies and parses a report signed by keys, for the trust root with
// this scope (see envelope.TrustScope).
func OpenReport(data []byte, trustScope string, keys envelope.Keys) (*Report, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Report)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Verify(trustScope, keys); err != nil {
		return nil, nil, err
	}
	var r Report
	if err := e.Open(ReportFormat, &r); err != nil {
		return nil, nil, err
	}
	if r.Format != ReportFormat || (r.Stage != order.Sim && r.Stage != order.HIL) || len(r.By) > 64 || len(r.Summary) > 1000 || r.Failed > r.Runs {
		return nil, nil, fmt.Errorf("%w: report of format %d on stage %s, %d of %d failed", ErrDecision, r.Format, r.Stage, r.Failed, r.Runs)
	}
	return &r, e, nil
}

// report notes what a simulator or bench says of the release. It may come before
// its stage opens. One that says failed holds the rollout.
func (s *State) report(data []byte) error {
	rep, e, err := OpenReport(data, envelope.TrustScope(s.TrustRoot), s.Roles.Report)
	if err != nil {
		return err
	}
	r := s.Rollout
	if r == nil || r.unfinished() != nil || rep.Release != r.Plan.Release.Digest {
		return fmt.Errorf("%w: no rollout of %s waits for a report", ErrNoRollout, rep.Release.Short())
	}
	accepted, wanted := &r.SimReport, r.Plan.Sim
	if rep.Stage == order.HIL {
		accepted, wanted = &r.HILReport, r.Plan.HIL
	}
	digest := e.Digest()
	switch {
	case !wanted || r.Stage > rep.Stage:
		return fmt.Errorf("%w: the plan asks for no %s report, or the stage has passed", ErrOldNews, rep.Stage)
	case digest == *accepted || digest == r.FailedReport:
		return fmt.Errorf("%w: this %s report is known", ErrOldNews, rep.Stage)
	case rep.Passed:
		*accepted = digest
		if r.Held == ByReport {
			r.Status, r.Held, r.Reason = order.Running, Nobody, ""
		}
	default:
		r.FailedReport = digest
		s.hold(ByReport, because(fmt.Sprintf("%s report by %s: failed", rep.Stage, plain(rep.By)), plain(rep.Summary)))
	}
	return nil
}
