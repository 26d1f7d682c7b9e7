package rollout

import (
	"cmp"
	"slices"

	"github.com/starling-swarm/starling/gossip/member"
)

// inbox keeps, of each robot and component of the swarm, the newest report and the
// newest that says failed: at most 2 × member.MaxMembers × order.MaxComponents.
type inbox struct {
	newest, failed map[from]Reported
}

type from struct {
	robot     member.Index
	component string
}

func newInbox() inbox { return inbox{map[from]Reported{}, map[from]Reported{}} }

// add keeps a report unless a newer one is known.
func (b *inbox) add(e Reported) {
	k := from{e.Health.Robot, e.Health.Component}
	if old, found := b.newest[k]; found && e.Health.Sequence <= old.Health.Sequence {
		return
	}
	b.newest[k] = e
	if e.Health.Result == member.Failed {
		b.failed[k] = e
	}
}

// worth returns the envelopes of reports that would tell s something that matters
// at time t: failures first, then by robot, within the bounds of one observe.
func (b *inbox) worth(s *State, t int64) [][]byte {
	r := s.Rollout
	exposed := b.exposed(s)
	var picked []Reported
	for _, i := range members(r.Opened) {
		k := from{i, r.Plan.Component}
		if e, found := b.failed[k]; found && s.Lacks(e.Health) {
			picked = append(picked, e)
		} else if e, found := b.newest[k]; found && s.concerns(e.Health) == nil && s.matters(e.Health, t, exposed) {
			picked = append(picked, e)
		}
	}
	slices.SortStableFunc(picked, func(a, b Reported) int { return cmp.Compare(b.Health.Result, a.Health.Result) })
	var out [][]byte
	size := 0
	for _, e := range picked {
		if size += len(e.Sealed); len(out) == MaxObserved || size > MaxObservedBytes {
			break
		}
		out = append(out, e.Sealed)
	}
	return out
}

// matters reports whether a report that concerns the rollout is worth a place in
// the log.
func (s *State) matters(h *member.Health, t int64, exposed bool) bool {
	r := s.Rollout
	about := h.Release == r.Plan.Release.Digest
	runs := h.Running == r.Plan.Release.Digest
	at, found := r.record(h.Robot)
	if !found {
		return runs || h.Leaving || (about && (h.Phase >= member.Armed || h.Result > member.Good))
	}
	rec := &r.Records[at]
	after := s.merged(h)
	switch {
	case runs != rec.Running, h.Leaving != rec.Leaving, after.Result > member.Good && after.Result != rec.Result, rec.Result == member.Deferred && after.Result != rec.Result:
		return true
	case max(after.Phase, member.Staged) != max(rec.Phase, member.Staged), after.committed() != rec.committed():
		return true
	case s.clockAt(t)-rec.SeenAt >= refresh(&r.Plan, s.standing(h.Robot) == inFlight):
		return after.Phase >= member.Armed || after.committed()
	}
	g, ok := r.watched()
	if !ok || !g.cohort.Has(int(h.Robot)) || !after.committed() {
		return false
	}
	return (rec.healthy() < g.SoakSeconds && after.healthy() >= g.SoakSeconds) || (exposed && after.healthy() > rec.healthy())
}

// exposed reports whether the newest reports together reach the exposure that the
// open stage still lacks.
func (b *inbox) exposed(s *State) bool {
	r := s.Rollout
	g, ok := r.watched()
	if !ok || g.ExposureSeconds == 0 {
		return false
	}
	var have, would uint64
	for _, i := range members(intersect(g.cohort, r.Opened)) {
		if at, found := r.record(i); found && r.Records[at].committed() {
			now := uint64(r.Records[at].healthy())
			have += now
			if e, found := b.newest[from{i, r.Plan.Component}]; found && s.concerns(e.Health) == nil {
				if after := s.merged(e.Health); after.committed() {
					now = uint64(after.healthy())
				}
			}
			would += now
		}
	}
	return have < g.ExposureSeconds && would >= g.ExposureSeconds
}
