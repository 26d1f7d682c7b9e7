package order_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// genesis starts generation 2 with voters 1, 2, 3 and 4.
func genesis() *order.Genesis {
	o := *rich()
	o.Index, o.Electorate, o.Rollout = 0, voters(1, 1, 2, 3, 4), nil
	o.Parent = [32]byte{}
	only := envelope.Only(pub(9))
	return &order.Genesis{
		Format: order.GenesisFormat, Order: o, After: order.Pointer{Generation: 1, Index: 99}, Reason: "half the fleet moved to the south field",
		Roles: order.Roles{Plan: only, Roster: only, Genesis: only, Report: only, Estop: envelope.Keys{Keys: []envelope.Key{pub(9), pub(10)}, Threshold: 1},
			EstopClear: envelope.Keys{Keys: []envelope.Key{pub(9), pub(10)}, Threshold: 2}},
		Counters: []order.Counter{{Key: pub(9), Value: 17}},
	}
}

func TestGenesisVector(t *testing.T) {
	g := genesis()
	data := vector.Check(t, "genesis", "genesis envelope of generation 2 with four voters", g.Seal().Sign(key(9)).Encode())
	got, e, err := order.OpenGenesis(data, swarm, envelope.Only(pub(9)))
	require.NoError(t, err)
	require.Equal(t, canonical.Encode(g), canonical.Encode(got))
	require.Equal(t, data, e.Encode())
}

func TestOpenGenesisRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		bend   func(*order.Genesis)
		signer int
		want   error
	}{
		"format":          {bend: func(g *order.Genesis) { g.Format = 2 }, want: order.ErrInvalid},
		"index":           {bend: func(g *order.Genesis) { g.Order.Index = 1 }, want: order.ErrInvalid},
		"electorate":      {bend: func(g *order.Genesis) { g.Order.Electorate.Version = 2 }, want: order.ErrInvalid},
		"parent":          {bend: func(g *order.Genesis) { g.Order.Parent = sum("x") }, want: order.ErrInvalid},
		"order":           {bend: func(g *order.Genesis) { g.Order.Level = 0 }, want: order.ErrInvalid},
		"reason":          {bend: func(g *order.Genesis) { g.Reason = strings.Repeat("r", order.MaxReasonBytes+1) }, want: order.ErrInvalid},
		"counters":        {bend: func(g *order.Genesis) { g.Counters = make([]order.Counter, order.MaxCounters+1) }, want: order.ErrInvalid},
		"role":            {bend: func(g *order.Genesis) { g.Roles.Estop.Threshold = 3 }, want: order.ErrInvalid},
		"another signer":  {signer: 1, want: envelope.ErrUnsigned},
		"another's swarm": {bend: func(g *order.Genesis) { g.Order.Swarm = "south" }, want: envelope.ErrKind},
	} {
		t.Run(name, func(t *testing.T) {
			g, signer := genesis(), 9
			if c.bend != nil {
				c.bend(g)
			}
			if c.signer != 0 {
				signer = c.signer
			}
			got, e, err := order.OpenGenesis(g.Seal().Sign(key(signer)).Encode(), swarm, envelope.Only(pub(9)))
			require.ErrorIs(t, err, c.want)
			require.Nil(t, got)
			require.Nil(t, e)
		})
	}
	g := genesis()
	g.Order.Swarm = "south"
	e := envelope.New(envelope.Genesis, 1, envelope.SwarmScope(swarm), g).Sign(key(9))
	_, _, err := order.OpenGenesis(e.Encode(), swarm, envelope.Only(pub(9)))
	require.ErrorIs(t, err, order.ErrInvalid, "for south inside an envelope for north")
}

func TestCertificateVector(t *testing.T) {
	s := statement(rich())
	c := order.NewCertificate(s, []envelope.Signature{s.Sign(key(4)), s.Sign(key(1)), s.Sign(key(2))})
	data := vector.Check(t, "certificate", "certificate of order.txt by voters 1, 2 and 4 of 1, 2, 4, 7", c.Encode())
	got, err := order.DecodeCertificate(data)
	require.NoError(t, err)
	require.Equal(t, c, got)
	e := voters(3, 1, 2, 4, 7)
	require.True(t, got.By(&e))
}

func TestCertificateBy(t *testing.T) {
	s := statement(rich())
	sign := func(members ...int) []envelope.Signature {
		var out []envelope.Signature
		for _, m := range members {
			out = append(out, s.Sign(key(m)))
		}
		return out
	}
	other := s
	other.State = sum("another state")
	stolen := other.Sign(key(3))
	wrong := s.Sign(key(3))
	wrong.Sig[0] ^= 1
	renamed := s.Sign(key(8))
	renamed.Key = pub(3)
	for name, c := range map[string]struct {
		sigs []envelope.Signature
		want bool
	}{
		"three of four":        {sign(1, 2, 3), true},
		"four of four":         {sign(1, 2, 3, 4), true},
		"two of four":          {sign(1, 2), false},
		"nobody":               {nil, false},
		"strangers":            {sign(1, 2, 8, 9), false},
		"quorum and strangers": {sign(1, 2, 4, 8), true},
		"one thrice":           {sign(1, 1, 1), false},
		"one twice":            {sign(1, 2, 2), false},
		"wrong signature":      {append(sign(1, 2), wrong), false},
		"wrong beside quorum":  {append(sign(1, 2, 4), wrong), true},
		"on another state":     {append(sign(1, 2), stolen), false},
		"under another key":    {append(sign(1, 2), renamed), false},
	} {
		e := voters(1, 1, 2, 3, 4)
		require.Equal(t, c.want, order.NewCertificate(s, c.sigs).By(&e), name)
	}
}

// A voter's signature on an order is none on any envelope, and the other way round.
func TestStatementsAreNoEnvelopes(t *testing.T) {
	s := statement(rich())
	e := &envelope.Envelope{Envelope: 1, Kind: envelope.Plan, Format: 1, Scope: envelope.SwarmScope(swarm), Body: canonical.Encode(&s), Signatures: []envelope.Signature{s.Sign(key(1))}}
	require.ErrorIs(t, e.Verify(e.Scope, envelope.Only(pub(1))), envelope.ErrUnsigned)
	e.Signatures = nil
	require.False(t, s.Verify(e.Sign(key(1)).Signatures[0]))
}

func TestDecodeCertificateRefuses(t *testing.T) {
	s := statement(rich())
	c := order.NewCertificate(s, []envelope.Signature{s.Sign(key(1))})
	c.Format = 2
	_, err := order.DecodeCertificate(c.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
	var many []envelope.Signature
	for i := range 2*order.MaxVoters + 1 {
		many = append(many, s.Sign(key(i)))
	}
	_, err = order.DecodeCertificate(order.NewCertificate(s, many).Encode())
	require.ErrorIs(t, err, canonical.ErrTooLarge)
}

func armed() *order.Armed {
	return &order.Armed{Format: order.ArmFormat, Robot: 5, Nonce: [16]byte{1, 2, 3}, Generation: 2, Index: 4711, Order: sum("order"), Component: "nav", Release: sum("1.5.0"), Empty: true, Sequence: 3<<32 + 7}
}

func TestArmVectors(t *testing.T) {
	q := armed()
	data := vector.Check(t, "armed", "armed envelope of member 5", q.Seal(swarm).Sign(key(5)).Encode())
	gotQ, e, err := order.OpenArmed(data, swarm, pub(5))
	require.NoError(t, err)
	require.Equal(t, q, gotQ)

	voter := voters(1, 2).Voters[0]
	a := &order.Ack{Format: order.ArmFormat, Voter: 2, Armed: e.Digest(), OK: false, Generation: 2, Index: 4712, Reason: "g2/4712 is newer"}
	data = vector.Check(t, "ack", "ack envelope of voter 2 to armed.txt: no, there is a newer order", a.Seal(swarm).Sign(key(2)).Encode())
	gotA, err := order.OpenAck(data, swarm, voter, e.Digest())
	require.NoError(t, err)
	require.Equal(t, a, gotA)
}

func TestArmRefuses(t *testing.T) {
	q := armed()
	_, _, err := order.OpenArmed(q.Seal(swarm).Sign(key(6)).Encode(), swarm, pub(5))
	require.ErrorIs(t, err, envelope.ErrUnsigned, "another robot")
	_, _, err = order.OpenArmed(q.Seal("south").Sign(key(5)).Encode(), swarm, pub(5))
	require.ErrorIs(t, err, envelope.ErrKind, "another swarm")
	q.Component = "No"
	_, _, err = order.OpenArmed(q.Seal(swarm).Sign(key(5)).Encode(), swarm, pub(5))
	require.ErrorIs(t, err, order.ErrInvalid)
	q = armed()
	q.Format = 2
	_, _, err = order.OpenArmed(q.Seal(swarm).Sign(key(5)).Encode(), swarm, pub(5))
	require.ErrorIs(t, err, order.ErrInvalid)

	question := armed().Seal(swarm).Digest()
	voter := voters(1, 2).Voters[0]
	for name, c := range map[string]struct {
		bend   func(*order.Ack)
		signer int
		want   error
	}{
		"fine":             {signer: 2},
		"another question": {func(a *order.Ack) { a.Armed = sum("earlier nonce") }, 2, envelope.ErrKind},
		"another voter":    {func(a *order.Ack) { a.Voter = 3 }, 2, envelope.ErrKind},
		"format":           {func(a *order.Ack) { a.Format = 0 }, 2, envelope.ErrKind},
		"long reason":      {func(a *order.Ack) { a.Reason = strings.Repeat("r", member.MaxReason+1) }, 2, envelope.ErrKind},
		"no voter":         {nil, 3, envelope.ErrUnsigned},
	} {
		a := &order.Ack{Format: order.ArmFormat, Voter: 2, Armed: question, OK: true, Generation: 2, Index: 4711}
		if c.bend != nil {
			c.bend(a)
		}
		got, err := order.OpenAck(a.Seal(swarm).Sign(key(c.signer)).Encode(), swarm, voter, question)
		require.ErrorIs(t, err, c.want, name)
		require.Equal(t, c.want == nil, got != nil, name)
	}
	other := armed()
	other.Nonce[0]++
	require.NotEqual(t, question, other.Seal(swarm).Digest(), "the digest covers the nonce")
}

func FuzzCertificate(f *testing.F) {
	s := statement(rich())
	f.Add(order.NewCertificate(s, []envelope.Signature{s.Sign(key(1)), s.Sign(key(2))}).Encode())
	f.Add((&order.Certificate{}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := order.DecodeCertificate(data)
		if err != nil {
			require.Nil(t, c)
			return
		}
		require.Equal(t, data, c.Encode())
		e := voters(1, 1, 2, 3, 4)
		c.By(&e)
	})
}

// FuzzSigned puts fuzzed bodies behind right signatures.
func FuzzSigned(f *testing.F) {
	f.Add(canonical.Encode(genesis()))
	f.Add(canonical.Encode(armed()))
	f.Add(canonical.Encode(&order.Ack{Format: 1, Voter: 2}))
	f.Fuzz(func(t *testing.T, body []byte) {
		seal := func(k envelope.Kind) []byte {
			e := &envelope.Envelope{Envelope: 1, Kind: k, Format: 1, Scope: envelope.SwarmScope(swarm), Body: body}
			return e.Sign(key(9)).Encode()
		}
		same := func(v any, err error) {
			if err == nil && !bytes.Equal(canonical.Encode(v), body) {
				t.Fatalf("%x has a second spelling", body)
			}
		}
		g, _, err := order.OpenGenesis(seal(envelope.Genesis), swarm, envelope.Only(pub(9)))
		same(g, err)
		q, _, err := order.OpenArmed(seal(envelope.Armed), swarm, pub(9))
		same(q, err)
		a, err := order.OpenAck(seal(envelope.Ack), swarm, order.Voter{Member: 2, Key: pub(9)}, sum("question"))
		same(a, err)
	})
}
