package member_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

const swarm = "north-field"

func key(n int) ed25519.PrivateKey {
	seed := make([]byte, 32)
	seed[0], seed[1] = byte(n), byte(n>>8)
	return ed25519.NewKeyFromSeed(seed)
}

func pub(n int) envelope.Key { return envelope.KeyOf(key(n)) }

func roster(n int) *member.Roster {
	r := &member.Roster{Format: member.RosterFormat, Swarm: swarm, Epoch: 12, Previous: manifest.Sum([]byte("epoch 11")), GossipKey: 3}
	for i := range n {
		r.Members = append(r.Members, member.Member{
			Index: member.Index(i), ID: member.ID(fmt.Sprintf("cart-%03d", i)), Key: pub(i + 1), JoinedAt: uint64(i/4 + 1),
			Labels: map[string]string{member.PlatformLabel: "linux/arm64", "model": "mk2", "site": "north", "role": "harvest"},
		})
	}
	return r
}

func seal(r *member.Roster, signer int) []byte {
	return envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(swarm), r).Sign(key(signer)).Encode()
}

func TestRosterVector(t *testing.T) {
	r := roster(3)
	r.Members[1].Role, r.Members[1].NoVote, r.Members[1].Labels = member.Operator, true, map[string]string{}
	r.Members[2].Revoked = true
	data := vector.Check(t, "roster", "roster envelope, epoch 12: a robot, an operator that never votes, a revoked robot", seal(r, 99))
	got, e, err := member.OpenRoster(data, swarm, envelope.Only(pub(99)))
	require.NoError(t, err)
	require.Equal(t, r, got)
	require.Equal(t, data, e.Encode())
}

func TestRosterCheckRefuses(t *testing.T) {
	for name, bend := range map[string]func(*member.Roster){
		"format":         func(r *member.Roster) { r.Format = 2 },
		"no swarm":       func(r *member.Roster) { r.Swarm = "" },
		"long swarm":     func(r *member.Roster) { r.Swarm = strings.Repeat("s", member.MaxSwarmBytes+1) },
		"epoch":          func(r *member.Roster) { r.Epoch = 0 },
		"too many":       func(r *member.Roster) { r.Members = make([]member.Member, member.MaxMembers+1) },
		"index":          func(r *member.Roster) { r.Members[1].Index = 2 },
		"no name":        func(r *member.Roster) { r.Members[1].ID = "" },
		"bad name":       func(r *member.Roster) { r.Members[1].ID = "Cart 1" },
		"role":           func(r *member.Roster) { r.Members[1].Role = 3 },
		"no key":         func(r *member.Roster) { r.Members[1].Key = envelope.Key{} },
		"name twice":     func(r *member.Roster) { r.Members[2].ID = r.Members[0].ID },
		"key twice":      func(r *member.Roster) { r.Members[2].Key = r.Members[0].Key },
		"revoked key":    func(r *member.Roster) { r.Members[0].Revoked = true; r.Members[2].Key = r.Members[0].Key },
		"revoked later":  func(r *member.Roster) { r.Members[2].Revoked = true; r.Members[2].Key = r.Members[0].Key },
		"nine labels":    func(r *member.Roster) { r.Members[0].Labels = labels(9) },
		"bad label":      func(r *member.Roster) { r.Members[0].Labels["Model"] = "x" },
		"empty label":    func(r *member.Roster) { r.Members[0].Labels["model"] = "" },
		"long label":     func(r *member.Roster) { r.Members[0].Labels["model"] = strings.Repeat("x", 65) },
		"another's name": func(r *member.Roster) { r.Swarm = "south" }, // inside an envelope for north
	} {
		t.Run(name, func(t *testing.T) {
			r := roster(3)
			bend(r)
			if name != "another's name" {
				require.ErrorIs(t, r.Check(), member.ErrInvalid)
			}
			got, e, err := member.OpenRoster(seal(r, 99), swarm, envelope.Only(pub(99)))
			require.Error(t, err)
			require.Nil(t, got)
			require.Nil(t, e)
		})
	}
}

func labels(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("l%d", i)] = "v"
	}
	return out
}

func TestOpenRosterNeedsTheRole(t *testing.T) {
	_, _, err := member.OpenRoster(seal(roster(3), 1), swarm, envelope.Only(pub(99)))
	require.ErrorIs(t, err, envelope.ErrUnsigned, "a member signed it")
	_, _, err = member.OpenRoster(seal(roster(3), 99), "south", envelope.Only(pub(99)))
	require.ErrorIs(t, err, envelope.ErrKind)
}

func TestRosterLookUp(t *testing.T) {
	r := roster(4)
	r.Members[1].Role, r.Members[2].Revoked, r.Members[3].Role = member.Base, true, member.Operator
	require.Equal(t, member.Index(1), r.ByKey(pub(2)).Index)
	require.Equal(t, member.Index(1), r.ByID("cart-001").Index)
	require.Equal(t, member.ID("cart-001"), r.At(1).ID)
	require.Nil(t, r.ByKey(pub(3)), "revoked")
	require.Nil(t, r.ByID("cart-002"), "revoked")
	require.Nil(t, r.At(2), "revoked")
	require.Nil(t, r.At(4))
	require.Nil(t, r.ByKey(envelope.Key{}))
	require.Len(t, r.Robots(), 1)
	require.Equal(t, []string{"#9", "cart-000", "cart-002"}, r.Names(member.Set{}.With(9).With(2).With(0)))
	require.Equal(t, "base", member.Base.String())
	require.Equal(t, "role 7", member.Role(7).String())
}

// DESIGN.md §5: a roster of 1,000 members fits 256 KiB with four labels each, and a
// document that does not fit is found by Fits, before it is signed.
func TestRosterSize(t *testing.T) {
	r := roster(1000)
	for i := range r.Members {
		r.Members[i].ID = member.ID(fmt.Sprintf("harvester-of-field-seven-no-%03d", i)[:28] + fmt.Sprintf("%04d", i))
		r.Members[i].JoinedAt = 1 << 40
		r.Members[i].Labels = map[string]string{
			member.PlatformLabel: "linux/arm64", "model": "model-mark-2-rev-c", "site": "field-seven-north", "role": "harvester-lead",
		}
	}
	require.NoError(t, r.Check())
	require.NoError(t, envelope.Fits(envelope.Roster, r))
	data := seal(r, 99)
	require.LessOrEqual(t, len(data), 256<<10)
	_, _, err := member.OpenRoster(data, swarm, envelope.Only(pub(99)))
	require.NoError(t, err)
	for i := range r.Members {
		for j := range member.MaxLabels - 4 {
			r.Members[i].Labels[fmt.Sprintf("%032d", j)] = strings.Repeat("x", 64)
		}
	}
	require.NoError(t, r.Check())
	require.ErrorIs(t, envelope.Fits(envelope.Roster, r), canonical.ErrTooLarge)
}

func FuzzOpenRoster(f *testing.F) {
	f.Add(seal(roster(3), 99))
	f.Add(seal(roster(0), 99))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, e, err := member.OpenRoster(data, swarm, envelope.Only(pub(99)))
		if err != nil {
			require.Nil(t, r)
			return
		}
		require.Equal(t, data, e.Encode())
		require.Equal(t, e.Body, canonical.Encode(r))
	})
}

// FuzzRoster goes behind the signature: bodies that the roster key signed.
func FuzzRoster(f *testing.F) {
	f.Add(canonical.Encode(roster(3)))
	f.Add(canonical.Encode(&member.Roster{}))
	f.Fuzz(func(t *testing.T, body []byte) {
		e := &envelope.Envelope{Envelope: 1, Kind: envelope.Roster, Format: 1, Scope: envelope.SwarmScope(swarm), Body: body}
		r, _, err := member.OpenRoster(e.Sign(key(99)).Encode(), swarm, envelope.Only(pub(99)))
		if err == nil && !bytes.Equal(canonical.Encode(r), body) {
			t.Fatalf("%x has a second spelling", body)
		}
	})
}
