package node

import (
	"fmt"
	"maps"
	"strings"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// forked reports whether the roster r, which ref names, was certainly not made from the
// one that from names: the chain of what it was made from leads to another of the same epoch. It
// is false too if documents of that chain are not here.
func (d docs) forked(r *member.Roster, ref, from order.RosterRef) bool {
	for ref.Epoch > from.Epoch {
		if r == nil {
			data, err := d.get(join.RosterDocument, ref.Digest)
			if err != nil {
				return false
			}
			// Not verified: a roster that was names it by its digest.
			e, err := envelope.Decode(data, envelope.Roster)
			if err != nil || e.Open(member.RosterFormat, &r) != nil || r == nil || r.Epoch != ref.Epoch {
				return false
			}
		}
		ref, r = order.RosterRef{Epoch: ref.Epoch - 1, Digest: r.Previous}, nil
	}
	return ref.Epoch == from.Epoch && ref.Digest != from.Digest
}

// lostRoster says what a roster that was signed here has and the swarm's has not.
func lostRoster(ours, swarms *member.Roster) string {
	var names []string
	for _, m := range ours.Members {
		if o := swarms.ByID(m.ID); o == nil || o.Key != m.Key || !maps.Equal(o.Labels, m.Labels) || o.Revoked != m.Revoked {
			names = append(names, string(m.ID))
		}
	}
	what := "a roster that was signed here"
	if len(names) > 0 {
		const more = 4 // a line for people
		if n := len(names); n > more {
			names = append(names[:more], fmt.Sprintf("%d more", n-more))
		}
		what = "what was signed here of " + strings.Join(names, ", ")
	}
	return what + " was not published: another laptop published a roster first; do it again (robots that join ask again by themselves)"
}
