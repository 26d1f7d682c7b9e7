package order_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

const swarm = "north-field"

func key(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n)}, 32))
}

func pub(n int) envelope.Key { return envelope.KeyOf(key(n)) }

func sum(s string) manifest.Digest { return manifest.Sum([]byte(s)) }

func ref(version string, counter uint64) manifest.Ref {
	return manifest.Ref{Version: version, Counter: counter, Digest: sum(version)}
}

func voters(version uint32, members ...int) order.Electorate {
	e := order.Electorate{Version: version}
	for _, m := range members {
		e.Voters = append(e.Voters, order.Voter{Member: member.Index(m), Key: pub(m), Server: fmt.Sprintf("cart-%02d", m)})
	}
	return e
}

// rich is an order with every field set.
func rich() *order.Order {
	return &order.Order{
		Format: order.Format, Swarm: swarm, Generation: 2, Index: 4711, Level: 1, Time: 1_780_000_000, Electorate: voters(3, 1, 2, 4, 7),
		Parent: sum("parent"), Roster: order.RosterRef{Epoch: 12, Digest: sum("roster")},
		Trust:      order.TrustRef{Root: 2, Timestamp: 40, Snapshot: 39, Targets: 38, Digest: sum("trust")},
		Components: []order.Component{{Name: "config", Active: ref("7", 7)}, {Name: "nav", Active: ref("1.4.1", 11), Previous: ref("1.4.0", 10), Floor: 9}},
		Quarantine: []manifest.Digest{sum("bad"), sum("worse")}, Halt: 5, Rollouts: 9,
		Rollout: &order.Rollout{
			ID: 9, Component: "nav", Release: ref("1.5.0", 12), From: ref("1.4.1", 11), Plan: sum("plan"), Status: order.Held, Stage: order.Wave,
			Wave: 2, Batch: 5, Open: member.Set{}.With(3), Opened: member.Set{}.With(1).With(3), Fetch: member.Set{}.With(9), Reason: "1 of 1 failed", Start: 4000,
		},
	}
}

func TestOrderVector(t *testing.T) {
	o := rich()
	require.NoError(t, o.Check())
	data := vector.Check(t, "order", "order g2/4711 with every field set", o.Encode())
	got, err := order.Decode(data)
	require.NoError(t, err)
	require.Equal(t, o, got)
	require.Equal(t, "g2/4711", got.Pointer().String())
	require.Equal(t, uint64(9), got.Component("nav").Floor)
	require.Nil(t, got.Component("app"))
	require.True(t, got.Quarantined(sum("bad")))
	require.False(t, got.Quarantined(sum("good")))
}

func TestOrderCheckRefuses(t *testing.T) {
	for name, bend := range map[string]func(*order.Order){
		"format":         func(o *order.Order) { o.Format = 0 },
		"swarm":          func(o *order.Order) { o.Swarm = "" },
		"long swarm":     func(o *order.Order) { o.Swarm = strings.Repeat("s", 33) },
		"generation":     func(o *order.Order) { o.Generation = 0 },
		"level":          func(o *order.Order) { o.Level = 0 },
		"electorate":     func(o *order.Order) { o.Electorate.Version = 0 },
		"no voters":      func(o *order.Order) { o.Electorate.Voters = nil },
		"eight voters":   func(o *order.Order) { o.Electorate = voters(1, 1, 2, 3, 4, 5, 6, 7, 8) },
		"voters order":   func(o *order.Order) { o.Electorate = voters(1, 2, 1) },
		"voter twice":    func(o *order.Order) { o.Electorate = voters(1, 2, 2) },
		"voter no key":   func(o *order.Order) { o.Electorate.Voters[0].Key = envelope.Key{} },
		"voter same key": func(o *order.Order) { o.Electorate.Voters[0].Key = pub(2) },
		"voter no id":    func(o *order.Order) { o.Electorate.Voters[0].Server = "" },
		"voter same id":  func(o *order.Order) { o.Electorate.Voters[0].Server = o.Electorate.Voters[1].Server },
		"voter long id":  func(o *order.Order) { o.Electorate.Voters[0].Server = strings.Repeat("s", 49) },
		"components":     func(o *order.Order) { o.Components = make([]order.Component, order.MaxComponents+1) },
		"component name": func(o *order.Order) { o.Components[0].Name = "" },
		"component sort": func(o *order.Order) { c := o.Components; c[0], c[1] = c[1], c[0] },
		"component two":  func(o *order.Order) { o.Components[0].Name = "nav" },
		"quarantine":     func(o *order.Order) { o.Quarantine = make([]manifest.Digest, order.MaxQuarantine+1) },
		"stage":          func(o *order.Order) { o.Rollout.Stage = order.Done + 1 },
		"status":         func(o *order.Order) { o.Rollout.Status = order.Superseded + 1 },
		"reason":         func(o *order.Order) { o.Rollout.Reason = strings.Repeat("r", order.MaxReasonBytes+1) },
		"of component":   func(o *order.Order) { o.Rollout.Component = "" },
		"open":           func(o *order.Order) { o.Rollout.Open = make(member.Set, 129) },
		"opened":         func(o *order.Order) { o.Rollout.Opened = make(member.Set, 129) },
		"fetch":          func(o *order.Order) { o.Rollout.Fetch = make(member.Set, 129) },
	} {
		t.Run(name, func(t *testing.T) {
			o := rich()
			bend(o)
			require.ErrorIs(t, o.Check(), order.ErrInvalid)
			got, err := order.Decode(o.Encode())
			require.Error(t, err)
			require.Nil(t, got)
		})
	}
	o := rich()
	o.Format = 2
	_, err := order.Decode(o.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
}

// largest is the longest order that passes Check.
func largest() *order.Order {
	o := rich()
	version := func(n int) manifest.Ref {
		return manifest.Ref{Version: fmt.Sprintf("%032d", n), Counter: math.MaxUint64, Digest: sum("x")}
	}
	o.Swarm, o.Generation, o.Index, o.Level, o.Time = strings.Repeat("s", 32), math.MaxUint32, math.MaxUint64, math.MaxUint, math.MinInt64
	o.Electorate = voters(math.MaxUint32, 1, 2, 3, 4, 5, 6, 7)
	for i := range o.Electorate.Voters {
		o.Electorate.Voters[i].Member += math.MaxUint16 - 9
		o.Electorate.Voters[i].Server = fmt.Sprintf("%048d", i)
	}
	o.Roster.Epoch, o.Trust = math.MaxUint64, order.TrustRef{Root: math.MaxUint64, Timestamp: math.MaxUint64, Snapshot: math.MaxUint64, Targets: math.MaxUint64, Digest: sum("t")}
	o.Components, o.Quarantine = nil, make([]manifest.Digest, order.MaxQuarantine)
	for i := range order.MaxComponents {
		o.Components = append(o.Components, order.Component{Name: fmt.Sprintf("%032d", i), Active: version(i), Previous: version(i), Floor: math.MaxUint64})
	}
	o.Halt, o.Rollouts = math.MaxUint64, math.MaxUint64
	r := o.Rollout
	r.ID, r.Component, r.Release, r.From, r.Status, r.Stage = math.MaxUint64, strings.Repeat("c", 32), version(1), version(2), order.Superseded, order.Done
	r.Wave, r.Batch, r.Reason, r.Start = math.MaxUint8, math.MaxUint16, strings.Repeat("r", order.MaxReasonBytes), math.MaxUint64
	full := bytes.Repeat([]byte{0xff}, member.MaxMembers/8)
	r.Open, r.Opened, r.Fetch = full, full, full
	return o
}

// DESIGN.md §5: an order is at most 4 KiB, its certificate at most 2 KiB with both
// electorates on it, a genesis at most 8 KiB.
func TestSizes(t *testing.T) {
	o := largest()
	require.NoError(t, o.Check())
	require.LessOrEqual(t, len(o.Encode()), order.MaxBytes)
	_, err := order.Decode(o.Encode())
	require.NoError(t, err)

	s := statement(o)
	var sigs []envelope.Signature
	for i := range 2 * order.MaxVoters {
		sigs = append(sigs, s.Sign(key(100+i)))
	}
	c := order.NewCertificate(s, sigs)
	require.LessOrEqual(t, len(c.Encode()), order.MaxCertificateBytes)
	_, err = order.DecodeCertificate(c.Encode())
	require.NoError(t, err)
	require.LessOrEqual(t, len(order.NewCertificate(s, sigs[:5]).Encode()), 700)

	g := genesis()
	g.Order, g.Reason = *o, strings.Repeat("r", order.MaxReasonBytes)
	g.Order.Index, g.Order.Electorate.Version, g.Order.Parent = 0, 1, manifest.Digest{}
	g.After = order.Pointer{Generation: math.MaxUint32, Index: math.MaxUint64}
	eight := envelope.Keys{Threshold: 8}
	for i := range envelope.MaxSignatures {
		eight.Keys = append(eight.Keys, pub(50+i))
	}
	g.Roles = order.Roles{Plan: eight, Roster: eight, Genesis: eight, Report: eight, Estop: eight, EstopClear: eight}
	g.Counters = nil
	for i := range order.MaxCounters {
		g.Counters = append(g.Counters, order.Counter{Key: pub(i), Value: math.MaxUint64})
	}
	require.NoError(t, envelope.Fits(envelope.Genesis, g))
	data := g.Seal().Sign(key(9)).Encode()
	require.LessOrEqual(t, len(data), 8<<10)
	_, _, err = order.OpenGenesis(data, g.Order.Swarm, envelope.Only(pub(9)))
	require.NoError(t, err)
}

func statement(o *order.Order) order.Statement {
	return order.Statement{Swarm: o.Swarm, Generation: o.Generation, Index: o.Index, Order: o.Digest(), State: sum("state")}
}

func TestQuorum(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 4, 7: 5} {
		require.Equal(t, want, order.Quorum(n), "%d voters", n)
		f := (n - 1) / 3
		require.Greater(t, 2*want-n, f, "%d voters: two quorums share an honest one", n)
		require.LessOrEqual(t, want, n-min(f, 1), "%d voters: one may be away", n)
	}
}

func TestPointersAndWords(t *testing.T) {
	p := order.Pointer{Generation: 1, Index: 9}
	require.True(t, p.Before(order.Pointer{Generation: 2}))
	require.True(t, p.Before(order.Pointer{Generation: 1, Index: 10}))
	require.False(t, p.Before(p))
	require.False(t, order.Pointer{Generation: 2}.Before(p))
	for s := range order.Superseded + 1 {
		require.Equal(t, s > order.RollingOff, s.Final(), s.String())
	}
	require.Equal(t, "wave stage 7 reverting status 8", fmt.Sprint(order.Wave, order.Stage(7), order.RollingOff, order.Status(8)))
	e := voters(1, 2, 5)
	require.Equal(t, []int{0, 1, -1}, []int{e.Seat(pub(2)), e.Seat(pub(5)), e.Seat(pub(3))})
	require.True(t, e.Has(5))
	require.False(t, e.Has(0))
}

func FuzzOrder(f *testing.F) {
	f.Add(rich().Encode())
	f.Add(largest().Encode())
	f.Add((&order.Order{}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := order.Decode(data)
		if err != nil {
			require.Nil(t, o)
			return
		}
		require.Equal(t, data, o.Encode())
	})
}
