package order_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

// field is a swarm that decides: it remembers who votes and what they chain to.
type field struct {
	now    order.Electorate
	parent manifest.Digest
	order  order.Order
}

func newField(t *testing.T) (*field, *order.Ledger) {
	g := genesis()
	e := g.Seal().Sign(key(9))
	got, env, err := order.OpenGenesis(e.Encode(), swarm, envelope.Only(pub(9)))
	require.NoError(t, err)
	return &field{now: got.Order.Electorate, parent: env.Digest(), order: got.Order}, order.NewLedger(got, env)
}

// at is the order for an index under the voters of now.
func (f *field) at(index uint64) *order.Order {
	o := f.order
	o.Index, o.Electorate, o.Parent = index, f.now, f.parent
	return &o
}

// change is an order that makes next the voters.
func (f *field) change(index uint64, members ...int) *order.Order {
	o := f.at(index)
	o.Electorate = voters(f.now.Version+1, members...)
	return o
}

// changed makes what o decided the case.
func (f *field) changed(o *order.Order) { f.now, f.parent = o.Electorate, o.Digest() }

func certified(o *order.Order, members ...int) order.Proven {
	s := statement(o)
	var sigs []envelope.Signature
	for _, m := range members {
		sigs = append(sigs, s.Sign(key(m)))
	}
	return order.Proven{Order: o, Certificate: order.NewCertificate(s, sigs)}
}

func TestLedgerAccepts(t *testing.T) {
	f, l := newField(t)
	require.Equal(t, uint64(0), l.Newest().Order.Index)
	require.Nil(t, l.Newest().Certificate)
	require.Equal(t, f.parent, l.GenesisDigest())
	for _, index := range []uint64{3, 4, 100} {
		p := certified(f.at(index), 1, 2, 4)
		require.NoError(t, l.Accept(p))
		require.Equal(t, p, l.Newest())
		require.NoError(t, l.Accept(p), "the same again")
		require.NoError(t, l.Accept(certified(f.at(index), 2, 3, 4)), "by another quorum")
		require.Equal(t, p, l.Newest(), "the first proof stays")
	}
	require.Empty(t, l.Chain())
	require.Equal(t, &f.now, l.Electorate())
}

func TestLedgerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		proven func(f *field) order.Proven
		want   error
	}{
		"no certificate":      {func(f *field) order.Proven { return order.Proven{Order: f.at(11)} }, order.ErrUncertified},
		"two of four":         {func(f *field) order.Proven { return certified(f.at(11), 1, 2) }, order.ErrUncertified},
		"strangers":           {func(f *field) order.Proven { return certified(f.at(11), 1, 2, 7, 8, 9) }, order.ErrUncertified},
		"one voter thrice":    {func(f *field) order.Proven { return certified(f.at(11), 1, 1, 1) }, order.ErrUncertified},
		"for another order":   {func(f *field) order.Proven { p := certified(f.at(11), 1, 2, 3); p.Order = f.at(12); return p }, order.ErrUncertified},
		"older":               {func(f *field) order.Proven { return certified(f.at(9), 1, 2, 3) }, order.ErrOld},
		"another for index":   {func(f *field) order.Proven { o := f.at(10); o.Halt++; return certified(o, 2, 3, 4) }, order.ErrFork},
		"another generation":  {func(f *field) order.Proven { o := f.at(11); o.Generation++; return certified(o, 1, 2, 3) }, order.ErrInvalid},
		"another swarm":       {func(f *field) order.Proven { o := f.at(11); o.Swarm = "south"; return certified(o, 1, 2, 3) }, order.ErrInvalid},
		"another line":        {func(f *field) order.Proven { o := f.at(11); o.Parent = sum("x"); return certified(o, 1, 2, 3) }, order.ErrFork},
		"unsigned other line": {func(f *field) order.Proven { o := f.at(11); o.Parent = sum("x"); return certified(o, 7, 8, 9) }, order.ErrUncertified},
		"voters unannounced": {func(f *field) order.Proven {
			o := f.at(11)
			o.Electorate = voters(1, 1, 2, 3, 5)
			return certified(o, 1, 2, 3)
		}, order.ErrFork},
		"new voters, not old": {func(f *field) order.Proven { return certified(f.change(11, 1, 5, 6, 7), 1, 5, 6, 7) }, order.ErrUncertified},
		"old voters, not new": {func(f *field) order.Proven { return certified(f.change(11, 1, 5, 6, 7), 1, 2, 3, 4) }, order.ErrUncertified},
		"short of the new":    {func(f *field) order.Proven { return certified(f.change(11, 1, 2, 5, 6), 1, 2, 3, 4) }, order.ErrUncertified},
		"change of another line": {func(f *field) order.Proven {
			o := f.change(11, 1, 2, 3, 5)
			o.Parent = sum("x")
			return certified(o, 1, 2, 3)
		}, order.ErrUncertified},
		"electorate skips one":    {func(f *field) order.Proven { o := f.at(11); o.Electorate.Version += 2; return certified(o, 1, 2, 3) }, order.ErrUncertified},
		"change below the newest": {func(f *field) order.Proven { return certified(f.change(9, 1, 2, 3, 5), 1, 2, 3) }, order.ErrOld},
		"change at the newest":    {func(f *field) order.Proven { return certified(f.change(10, 1, 2, 3, 5), 1, 2, 3) }, order.ErrFork},
	} {
		t.Run(name, func(t *testing.T) {
			f, l := newField(t)
			ten := certified(f.at(10), 1, 2, 3)
			require.NoError(t, l.Accept(ten))
			require.ErrorIs(t, l.Accept(c.proven(f)), c.want)
			require.Equal(t, ten, l.Newest(), "a refusal changes nothing")
			require.Empty(t, l.Chain())
			require.NoError(t, l.Accept(certified(f.at(11), 1, 2, 3)), "and the ledger goes on")
		})
	}
}

// Three swaps replace all but one of the founding voters. A robot that was away
// gets nowhere with the newest order alone, and all the way with the chain.
func TestLedgerFollowsElectorates(t *testing.T) {
	f, l := newField(t)
	for i, step := range []struct{ next, sign []int }{
		{[]int{1, 2, 3, 5}, []int{1, 2, 3}},
		{[]int{1, 2, 5, 6}, []int{1, 2, 5}},
		{[]int{1, 5, 6, 7}, []int{1, 5, 6}},
	} {
		o := f.change(uint64(10*i+10), step.next...)
		require.NoError(t, l.Accept(certified(o, step.sign...)))
		f.changed(o)
		require.NoError(t, l.Accept(certified(o, step.sign...)), "the change again")
		require.NoError(t, l.Accept(certified(f.at(uint64(10*i+15)), step.next[1:]...)))
	}
	require.Len(t, l.Chain(), 3)
	require.Equal(t, uint32(4), l.Electorate().Version)
	require.ErrorIs(t, l.Accept(certified(f.at(90), 1, 2, 3, 4)), order.ErrUncertified, "the founders have no say now")
	newest := certified(f.at(99), 5, 6, 7)
	require.NoError(t, l.Accept(newest))

	_, away := newField(t)
	require.ErrorIs(t, away.Accept(newest), order.ErrUncertified)
	require.ErrorIs(t, away.Accept(l.Chain()[1]), order.ErrUncertified)
	for _, p := range l.Chain() {
		require.NoError(t, away.Accept(p))
	}
	require.NoError(t, away.Accept(newest))
	require.Equal(t, l.Newest(), away.Newest())
	require.ErrorIs(t, away.Accept(l.Chain()[0]), order.ErrOld)
}

// Whoever missed a change of one seat sees a later order, which a quorum of the voters
// it knows has signed too: that is no fork, the change is wanted first.
func TestLedgerMissedAChange(t *testing.T) {
	f, l := newField(t)
	_, away := newField(t)
	change := certified(f.change(10, 1, 2, 3, 5), 1, 2, 3)
	require.NoError(t, l.Accept(change))
	f.changed(change.Order)
	later := certified(f.at(12), 1, 2, 3)
	require.NoError(t, l.Accept(later))
	require.ErrorIs(t, away.Accept(later), order.ErrUncertified)
	require.NotErrorIs(t, away.Accept(later), order.ErrFork)
	require.NoError(t, away.Accept(change))
	require.NoError(t, away.Accept(later))
}

// The same founders elect two different successors: whoever sees both holds.
func TestLedgerSeesForkedElectorates(t *testing.T) {
	f, l := newField(t)
	one, two := f.change(10, 1, 2, 3, 5), f.change(10, 1, 2, 3, 6)
	require.NoError(t, l.Accept(certified(one, 1, 2, 3)))
	require.ErrorIs(t, l.Accept(certified(two, 2, 3, 4, 6)), order.ErrFork)
	require.ErrorIs(t, l.Accept(certified(two, 1, 2, 3)), order.ErrFork, "the seats kept are a quorum of the other electorate too")
	require.ErrorIs(t, l.Accept(certified(two, 2, 3, 6)), order.ErrUncertified, "a quorum of neither")
	require.ErrorIs(t, l.Accept(certified(two, 6, 7, 8)), order.ErrUncertified, "strangers can cry wolf as they like")
	require.Equal(t, one, l.Newest().Order)
}
