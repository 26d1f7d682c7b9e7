package rollout

import (
	"cmp"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/gossip/member"
)

// maxSetBytes bounds a set of members.
const maxSetBytes = member.MaxMembers / 8

// norm gives a set its one form: no zero byte at the end. An empty set may be nil
// or not, for in a document both are the same: only its length tells.
func norm(b member.Set) member.Set {
	if b = b.Trim(); len(b) == 0 {
		return nil
	}
	return slices.Clip(b)
}

// normal reports whether b is in the form of norm.
func normal(b member.Set) bool {
	return len(b) == 0 || (b[len(b)-1] != 0 && len(b) <= maxSetBytes)
}

func union(a, b member.Set) member.Set { return norm(a.Union(b)) }

func minus(a, b member.Set) member.Set { return norm(a.Minus(b)) }

func intersect(a, b member.Set) member.Set { return minus(a, a.Minus(b)) }

func subset(a, b member.Set) bool { return len(minus(a, b)) == 0 }

// setOf is the set of these members.
func setOf(robots ...member.Index) member.Set {
	var s member.Set
	for _, i := range robots {
		s = s.With(int(i))
	}
	return norm(s)
}

// members lists the members of b, ascending.
func members(b member.Set) []member.Index {
	out := make([]member.Index, 0, b.Count())
	for _, i := range b.All() {
		out = append(out, member.Index(i))
	}
	return out
}

// record returns the place of a robot's record, and whether it has one.
func (r *Rollout) record(i member.Index) (int, bool) {
	return slices.BinarySearchFunc(r.Records, i, func(rec Record, i member.Index) int { return cmp.Compare(rec.Robot, i) })
}

// position is the place of robot i in Keys and Strata, -1 if it is not in x.
func (x *Extract) position(i member.Index) int {
	if !x.Robots.Has(int(i)) {
		return -1
	}
	below := slices.Clone(x.Robots[:int(i)/8+1])
	below[int(i)/8] &= 1<<(i%8) - 1
	return below.Count()
}

// Key is the key of robot i, the zero key if it is not in x.
func (x *Extract) Key(i member.Index) envelope.Key {
	var k envelope.Key
	if p := x.position(i); p >= 0 {
		copy(k[:], x.Keys[p*len(k):])
	}
	return k
}

// stratum is what robot i is; i must be in x.
func (x *Extract) stratum(i member.Index) *Stratum { return &x.Table[x.Strata[x.position(i)]] }
