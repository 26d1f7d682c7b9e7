package node

import (
	"crypto/ed25519"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// house is four voters with every key in hand: what they certify is certified.
type house struct {
	genesis *order.Genesis
	sealed  *envelope.Envelope
	keys    []ed25519.PrivateKey
}

// found starts a generation of k's swarm, signed by the operator.
func foundHouse(k *keeper, operator ed25519.PrivateKey, generation uint32, reason string) *house {
	v := k.View()
	h := &house{genesis: &order.Genesis{Format: order.GenesisFormat, Reason: reason, Roles: v.Trust.Roles(), Order: order.Order{
		Format: order.Format, Swarm: v.Swarm, Generation: generation, Level: order.Level, Time: 1,
		Electorate: order.Electorate{Version: 1}, Roster: v.RosterRef, Trust: v.Trust.Ref(),
	}}}
	for i := range 4 {
		key := seedKey(byte(50 + i))
		h.keys = append(h.keys, key)
		h.genesis.Order.Electorate.Voters = append(h.genesis.Order.Electorate.Voters, order.Voter{Member: member.Index(50 + i), Key: envelope.KeyOf(key), Server: "v" + itoa(i)})
	}
	h.sealed = h.genesis.Seal().Sign(operator)
	return h
}

// certify is the order at an index, changed, with the word of the first so many voters.
func (h *house) certify(index uint64, voters int, change func(*order.Order)) order.Proven {
	o := h.genesis.Order
	o.Index, o.Parent = index, h.sealed.Digest()
	if change != nil {
		change(&o)
	}
	s := order.Statement{Swarm: o.Swarm, Generation: o.Generation, Index: index, Order: o.Digest()}
	var sigs []envelope.Signature
	for _, k := range h.keys[:voters] {
		sigs = append(sigs, s.Sign(k))
	}
	return order.Proven{Order: &o, Certificate: order.NewCertificate(s, sigs)}
}

func proofs(of ...order.Proven) (out []join.Proof) {
	for _, p := range of {
		out = append(out, encodeProof(p))
	}
	return out
}

// What an answer proves before the order that is refused is kept, and is there
// after a restart: a robot must never have acted on what it then forgets.
func TestOrdersBeforeARefusedOneAreKept(t *testing.T) {
	k, operator, reopen := openTestKeeper(t)
	h := foundHouse(k, operator, 1, "start")
	good, lies := h.certify(5, 3, nil), h.certify(9, 2, nil)
	err := k.take(&join.MetaReply{Genesis: h.sealed.Encode(), Order: proofs(good, lies)}, true)
	require.ErrorIs(t, err, order.ErrUncertified)
	k.publish()
	require.Equal(t, uint64(5), k.View().Pointer().Index)
	require.Equal(t, uint64(5), reopen().View().Pointer().Index, "after a restart")
}

// An order that could not be written is written with the next offer, though that
// brings nothing new.
func TestOrdersThatCouldNotBeWrittenAreWrittenLater(t *testing.T) {
	k, operator, reopen := openTestKeeper(t)
	h := foundHouse(k, operator, 1, "start")
	require.NoError(t, k.take(&join.MetaReply{Genesis: h.sealed.Encode()}, true))
	path := k.dir.path("orders")
	require.NoFileExists(t, path, "nothing is certified yet")
	require.NoError(t, os.Mkdir(path, 0o700), "a directory stands where the file should go")
	require.Error(t, k.take(&join.MetaReply{Order: proofs(h.certify(5, 3, nil))}, true))
	require.NoError(t, os.Remove(path))
	require.NoError(t, k.take(&join.MetaReply{}, true))
	require.Equal(t, uint64(5), reopen().View().Pointer().Index)
}

// Two certified orders for one index are an alarm, which outlives a restart; the
// next generation ends it, also if power is lost between its genesis and the end.
func TestANewerGenerationEndsTheAlarm(t *testing.T) {
	other := func(o *order.Order) { o.Halt = 7 }
	for _, c := range []struct {
		name string
		fork func(k *keeper, operator ed25519.PrivateKey, h *house) *join.MetaReply
	}{
		{"two orders", func(_ *keeper, _ ed25519.PrivateKey, h *house) *join.MetaReply {
			return &join.MetaReply{Order: proofs(h.certify(5, 3, other))}
		}},
		{"two genesis", func(k *keeper, operator ed25519.PrivateKey, _ *house) *join.MetaReply {
			return &join.MetaReply{Genesis: foundHouse(k, operator, 1, "another start").sealed.Encode()}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, operator, reopen := openTestKeeper(t)
			h := foundHouse(k, operator, 1, "start")
			require.NoError(t, k.take(&join.MetaReply{Genesis: h.sealed.Encode(), Order: proofs(h.certify(5, 3, nil))}, true))
			require.ErrorIs(t, k.take(c.fork(k, operator, h), true), order.ErrFork)
			k.publish()
			require.NotEmpty(t, k.View().Alarm)

			k = reopen()
			require.NotEmpty(t, k.View().Alarm, "after a restart")
			require.Equal(t, uint64(5), k.View().Pointer().Index, "what came first stays")
			require.NoError(t, k.take(&join.MetaReply{Order: proofs(h.certify(6, 3, nil))}, true))
			k.publish()
			require.NotEmpty(t, k.View().Alarm, "the same generation goes on, and nothing is explained")

			next := foundHouse(k, operator, 2, "the operator has looked")
			require.NoError(t, writeNew(k.dir.path("cut"), next.sealed.Encode()))
			require.NoError(t, os.Rename(k.dir.path("cut"), k.dir.path("genesis")), "power is lost before the alarm's file is removed")
			k = reopen()
			require.Empty(t, k.View().Alarm)
			require.Equal(t, order.Pointer{Generation: 2}, k.View().Pointer())
			require.NoFileExists(t, k.dir.path("alarm"))
			require.Empty(t, reopen().View().Alarm)
		})
		t.Run(c.name+", while it runs", func(t *testing.T) {
			k, operator, reopen := openTestKeeper(t)
			h := foundHouse(k, operator, 1, "start")
			require.NoError(t, k.take(&join.MetaReply{Genesis: h.sealed.Encode(), Order: proofs(h.certify(5, 3, nil))}, true))
			require.ErrorIs(t, k.take(c.fork(k, operator, h), true), order.ErrFork)
			require.NoError(t, k.take(&join.MetaReply{Genesis: foundHouse(k, operator, 2, "again").sealed.Encode()}, true))
			k.publish()
			require.Empty(t, k.View().Alarm)
			require.NoFileExists(t, k.dir.path("alarm"))
			require.Empty(t, reopen().View().Alarm)
		})
	}
}

// Two robots that hold different certified orders for one place find out by gossip
// alone, ask each other for proof, and both hold still.
func TestAForkIsFoundByGossip(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 0)
	i, err := s.op.Invite(s.ctx, InviteRequest{Role: "base", NoVote: true})
	require.NoError(t, err)
	cfg := loopback(s.dir + "/r01")
	cfg.Name, cfg.Invite = "r01", i
	base := s.start(cfg)
	s.wait("the base node", base.taking)

	h := foundHouse(s.op.keeper, s.operator, 1, "start")
	truths := []order.Proven{h.certify(5, 3, nil), h.certify(5, 4, func(o *order.Order) { o.Halt = 7 })}
	for i, m := range []**member0{&s.op, &base} {
		n := *m
		n.stop()
		<-n.gone
		require.NoError(t, writeNew(n.dir.path("genesis"), h.sealed.Encode()))
		k, err := openKeeper(n.dir, n.member, n.key(), n.log)
		require.NoError(t, err)
		require.NoError(t, k.take(&join.MetaReply{Order: proofs(truths[i])}, true))
		next := n.cfg
		next.Invite = nil
		*m = s.start(next)
	}
	s.wait("both hold", func() bool {
		return s.op.taking() && base.taking() && s.op.View().Alarm != "" && base.View().Alarm != ""
	})
	for i, n := range []*member0{s.op, base} {
		require.Equal(t, truths[i].Order.Digest(), n.View().Order.Digest(), "what was there first stays")
		require.ErrorContains(t, n.arm(s.ctx, "app", manifest.Ref{}, false), "two different decisions")
	}
}
