package rollout

import (
	"fmt"
	"testing"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/stretchr/testify/require"
)

func TestPublish(t *testing.T) {
	g := newRig(t, 5, 1, 1)
	publish := func(change func(*Publish)) error {
		p := Publish{Format: 1, Swarm: swarmID, ExpectTrust: g.state.Trust.Digest, ExpectRoster: g.state.Roster.Digest, Trust: g.state.Trust, Roster: g.state.Roster, Roles: g.state.Roles}
		change(&p)
		return g.apply(&Decision{Kind: KindPublish, Publish: p.Seal().Sign(g.operator()).Encode()})
	}
	trust2 := func(p *Publish) { p.Trust.Targets, p.Trust.Digest = 2, manifest.Sum([]byte("trust 2")) }
	require.ErrorIs(t, publish(func(p *Publish) {}), ErrOldNews)
	require.ErrorIs(t, publish(func(p *Publish) { p.Trust.Digest[0]++ }), ErrForbidden, "one version, two documents")
	require.ErrorIs(t, publish(func(p *Publish) { p.Roster.Digest[0]++ }), ErrForbidden)
	require.ErrorIs(t, publish(func(p *Publish) {
		p.Roster.Epoch, p.Roster.Digest, p.Roles.Report = 2, manifest.Sum([]byte("roster 2")), envelope.Keys{}
	}), ErrForbidden, "roles without trust metadata")
	require.ErrorIs(t, publish(func(p *Publish) { trust2(p); p.Roles.Plan.Threshold = 2 }), ErrForbidden, "nobody could sign")
	require.ErrorIs(t, publish(func(p *Publish) {
		trust2(p)
		for n := range envelope.MaxSignatures + 1 {
			p.Roles.Estop.Keys = append(p.Roles.Estop.Keys, envelope.KeyOf(testKey(fmt.Sprint("estop ", n))))
		}
		p.Roles.Estop.Threshold = 1
	}), order.ErrInvalid, "more keys than can sign")
	require.ErrorIs(t, publish(func(p *Publish) { p.ExpectTrust[0]++ }), ErrStale)
	at := g.state.OrderIndex
	require.NoError(t, publish(trust2))
	require.Greater(t, g.state.OrderIndex, at)
	require.ErrorIs(t, publish(func(p *Publish) { p.Trust.Targets, p.Trust.Digest = 1, manifest.Sum([]byte("trust 1")) }), ErrForbidden)
	err := publish(func(p *Publish) { trust2(p); p.ExpectTrust = manifest.Sum([]byte("trust 1")) })
	require.ErrorIs(t, err, ErrStale)
	require.Contains(t, err.Error(), g.state.Trust.Digest.Short(), "the second is told who was first")
	require.NoError(t, publish(func(p *Publish) { p.Roster.Epoch++; p.Roster.Digest = manifest.Sum([]byte("roster 2")) }))
}

// TestLedgerFollows: a robot's ledger accepts the orders of a state through changes
// of voters, each certified by the quorum that order asks for.
func TestLedgerFollows(t *testing.T) {
	g := newRig(t, 10, 4, 1)
	g.release("1.0.0", 1)
	gen := g.genesis(4)
	ledger := order.NewLedger(gen, gen.Seal().Sign(testKey("genesis")))
	certify := func(electorates ...order.Electorate) order.Proven {
		require.Equal(t, g.state.Index, g.state.OrderIndex)
		st := g.state.Statement()
		keys := map[envelope.Key]envelope.Signature{}
		for _, e := range electorates {
			for _, v := range e.Voters[:order.Quorum(len(e.Voters))] {
				sig := st.Sign(robotKey(v.Member))
				keys[sig.Key] = sig
			}
		}
		var sigs []envelope.Signature
		for _, s := range keys {
			sigs = append(sigs, s)
		}
		return order.Proven{Order: g.state.Order(), Certificate: order.NewCertificate(st, sigs)}
	}
	require.NoError(t, g.apply(g.startOf("1.0.0")))
	require.NoError(t, ledger.Accept(certify(g.state.Electorate)))
	change := func(remove, add int) {
		old := g.state.Electorate
		d := g.setVoters(remove, add)
		g.now++
		require.NoError(t, g.apply(d))
		if add >= 0 && !old.Has(member.Index(add)) {
			require.ErrorIs(t, ledger.Accept(certify(few(old))), order.ErrUncertified)
		}
		require.NoError(t, ledger.Accept(certify(old, g.state.Electorate)))
	}
	change(0, 7)
	change(3, 8) // directly after another change
	require.NoError(t, g.apply(&Decision{Kind: KindCheckpoint}))
	require.NoError(t, ledger.Accept(certify(g.state.Electorate)))
	change(7, -1)
	change(-1, 0)
	change(8, 8) // the same member, anew
	require.NoError(t, g.advance())
	require.NoError(t, ledger.Accept(certify(g.state.Electorate)))
	require.Len(t, ledger.Chain(), 5)

	require.ErrorIs(t, g.apply(g.setVoters(-1, 2)), ErrElectorate, "votes already")
	require.NoError(t, g.apply(g.setVoters(2, -1)))
	require.ErrorIs(t, g.apply(g.setVoters(1, -1)), ErrElectorate, "below three")
}

// few is too few voters of e to decide.
func few(e order.Electorate) order.Electorate {
	e.Voters = e.Voters[:1]
	return e
}
