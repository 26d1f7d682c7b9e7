package node

import (
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// laptop is an operator's keeper in a swarm that has started, with the owner's key.
type laptop struct {
	*keeper
	t       *testing.T
	key     ed25519.PrivateKey
	house   *house
	start   *trust.Bundle // what the genesis names
	indexes uint64
	events  []Event
}

func newLaptop(t *testing.T) *laptop {
	l := &laptop{t: t, key: newKey(t), indexes: 1}
	keys := []envelope.Key{envelope.KeyOf(l.key)}
	var err error
	l.start, err = trust.Init(keys, 1, keys, l.signers(), time.Now())
	require.NoError(t, err)
	path := t.TempDir()
	require.NoError(t, Found(path, "orchard-3", "op", l.start, l.key))
	l.open(dir(path))
	l.house = foundHouse(l.keeper, l.key, 1, "start")
	l.hears(&join.MetaReply{Genesis: l.house.sealed.Encode()})
	return l
}

// open reads everything back, as after a restart.
func (l *laptop) open(d dir) {
	m, err := d.membership()
	require.NoError(l.t, err)
	l.keeper, err = openKeeper(d, m, envelope.KeyOf(l.key), slog.New(slog.DiscardHandler))
	require.NoError(l.t, err)
	l.lost = func(e Event) { l.events = append(l.events, e) }
}

func (l *laptop) signers() trust.Signers {
	return trust.Signers{Owner: []ed25519.PrivateKey{l.key}, Operator: []ed25519.PrivateKey{l.key}}
}

// lists is the trust metadata after b with one more release.
func (l *laptop) lists(b *trust.Bundle, version string, counter uint64) *trust.Bundle {
	next, err := trust.Publish(b, []*manifest.Release{{Format: manifest.ReleaseFormat, Component: "app", Version: version, Counter: counter, Variants: []manifest.Variant{
		{Name: "all", Manifest: manifest.Sum([]byte(version)), ManifestBytes: 1, Bytes: 1, Driver: "dirslot"},
	}}}, l.signers(), time.Now())
	require.NoError(l.t, err)
	return next
}

// signs takes what was made here, hears what comes from others.
func (l *laptop) signs(r *join.MetaReply) {
	l.own = true
	require.NoError(l.t, l.take(r, true))
	l.publish()
}

func (l *laptop) hears(r *join.MetaReply) {
	l.own = false
	require.NoError(l.t, l.take(r, true))
	l.publish()
}

// ordered certifies the next order.
func (l *laptop) ordered(change func(*order.Order)) *join.MetaReply {
	l.indexes++
	return &join.MetaReply{Order: proofs(l.house.certify(l.indexes, 3, change))}
}

func (l *laptop) ref(b *trust.Bundle) order.TrustRef {
	s, err := trust.Open(manifest.Sum(b.Roots[0]), b, nil, time.Time{})
	require.NoError(l.t, err)
	return s.Ref()
}

// decides is an order that names b.
func (l *laptop) decides(b *trust.Bundle) *join.MetaReply {
	return l.ordered(func(o *order.Order) { o.Trust = l.ref(b) })
}

func (l *laptop) has(b *trust.Bundle) {
	l.t.Helper()
	require.Equal(l.t, b.Digest(), l.View().Trust.Ref().Digest)
}

func metadata(b *trust.Bundle) *join.MetaReply { return &join.MetaReply{Trust: b.Encode()} }

// Of two laptops that publish at once the second takes up what the first published,
// says what was lost, and may publish it again upon that; with one more version
// ahead too, and also after a restart.
func TestUnpublishedTrustGivesWayToWhatTheOrderNames(t *testing.T) {
	for _, c := range []struct {
		name    string
		ours    func(l *laptop) *trust.Bundle
		restart bool
		says    string
	}{
		{name: "one each", ours: func(l *laptop) *trust.Bundle { return l.lists(l.start, "1.2", 2) }, says: "1.2 of app was not published: another laptop published first; publish it again"},
		{name: "after a restart", restart: true, ours: func(l *laptop) *trust.Bundle { return l.lists(l.start, "1.2", 2) }, says: "1.2 of app was not published: another laptop published first; publish it again"},
		{name: "two here", ours: func(l *laptop) *trust.Bundle {
			first := l.lists(l.start, "1.2", 2)
			l.signs(metadata(first))
			return l.lists(first, "1.3", 3)
		}, says: "1.2 of app, 1.3 of app were not published: another laptop published first; publish it again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLaptop(t)
			theirs := l.lists(l.start, "1.1", 1)
			ours := c.ours(l)
			l.signs(metadata(ours))
			l.has(ours)
			require.True(t, l.View().mayPropose(), "made from what the order names")
			if c.restart {
				l.open(l.dir)
				l.has(ours)
				require.True(t, l.View().mayPropose())
			}

			l.hears(l.decides(theirs))
			l.has(ours)
			require.False(t, l.View().mayPropose(), "the order names what is not here yet")
			l.hears(metadata(theirs))
			l.has(theirs)
			require.Len(t, l.events, 1)
			require.Equal(t, c.says, l.events[0].Text)
			require.NoFileExists(t, l.dir.path("trust-base"))

			again := l.lists(theirs, "1.2", 2)
			l.signs(metadata(again))
			require.True(t, l.View().mayPropose())
			l.hears(l.decides(again))
			l.has(again)
			require.False(t, l.View().undecided)
			l.open(l.dir)
			l.has(again)
			require.Len(t, l.events, 1)
		})
	}
}

// What was signed here stays if it goes on from what another published, and nothing
// is called lost that somebody else published on top of.
func TestTrustThatGoesOnIsNotLost(t *testing.T) {
	l := newLaptop(t)
	theirs := l.lists(l.start, "1.1", 1)
	ours := l.lists(theirs, "1.2", 2) // from a stick, say: this laptop has not heard of theirs
	l.signs(metadata(ours))
	l.hears(l.decides(theirs))
	require.False(t, l.View().mayPropose())
	l.hears(metadata(theirs))
	l.has(ours)
	require.True(t, l.View().mayPropose(), "made from what the order names")
	l.open(l.dir)
	l.has(ours)

	next := l.lists(ours, "1.3", 3)
	l.hears(l.decides(next)) // ours was decided in between, and this laptop away
	l.hears(metadata(next))
	l.has(next)
	require.Empty(t, l.events)
}

// What was decided is never left for something older, whatever an order names.
func TestDecidedTrustDoesNotGoBack(t *testing.T) {
	l := newLaptop(t)
	first, other := l.lists(l.start, "1.1", 1), l.lists(l.start, "6.6", 1)
	l.signs(metadata(first))
	l.hears(l.decides(first))
	l.hears(l.decides(other))
	l.own = false
	require.ErrorIs(t, l.take(metadata(other), true), trust.ErrFork)
	require.ErrorIs(t, l.take(metadata(l.start), true), nil, "not named: kept to be looked at")
	l.publish()
	l.has(first)
}

// relabelled signs the roster after one, with a member's label changed.
func (l *laptop) relabelled(r *member.Roster, previous manifest.Digest, label string) (*member.Roster, *envelope.Envelope) {
	next := nextRoster(r)
	next.Epoch, next.Previous = r.Epoch+1, previous
	next.Members[0].Labels = map[string]string{"site": label}
	return next, envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(r.Swarm), next).Sign(l.key)
}

// An unpublished roster gives way too, with a higher epoch as well, and does not come
// back from a member that has taken it.
func TestUnpublishedRosterGivesWayToWhatTheOrderNames(t *testing.T) {
	l := newLaptop(t)
	v := l.View()
	theirs, sealed := l.relabelled(v.Roster, v.RosterRef.Digest, "north")
	first, e1 := l.relabelled(v.Roster, v.RosterRef.Digest, "south")
	_, e2 := l.relabelled(first, e1.Digest(), "far south")
	l.signs(&join.MetaReply{Roster: e1.Encode()})
	l.signs(&join.MetaReply{Roster: e2.Encode()})
	require.Equal(t, e2.Digest(), l.View().RosterRef.Digest)

	ref := order.RosterRef{Epoch: theirs.Epoch, Digest: sealed.Digest()}
	l.hears(l.ordered(func(o *order.Order) { o.Roster = ref }))
	l.hears(&join.MetaReply{Roster: sealed.Encode()})
	require.Equal(t, ref, l.View().RosterRef)
	require.Len(t, l.events, 1)
	require.Contains(t, l.events[0].Text, "what was signed here of op was not published")
	l.hears(&join.MetaReply{Roster: e2.Encode()})
	require.Equal(t, ref, l.View().RosterRef)

	_, e3 := l.relabelled(theirs, ref.Digest, "south")
	l.signs(&join.MetaReply{Roster: e3.Encode()})
	require.Equal(t, e3.Digest(), l.View().RosterRef.Digest)
	l.hears(&join.MetaReply{Roster: sealed.Encode()})
	require.Equal(t, e3.Digest(), l.View().RosterRef.Digest, "ours was made from the one that the order names")
	require.Len(t, l.events, 1)
}

// A refused publish waits longer each time; other content does not wait.
func TestARefusedPublishIsNotProposedAtOnce(t *testing.T) {
	at, tm := time.Unix(1_800_000_000, 0), timings["lan"]
	p := &rollout.Publish{Roster: order.RosterRef{Epoch: 7}}
	var r refusal
	require.False(t, r.waits(p, at))
	for _, want := range []time.Duration{tm.retry, 2 * tm.retry, 4 * tm.retry} {
		r.note(p, at, tm)
		require.True(t, r.waits(p, at.Add(want-1)), want)
		at = at.Add(want)
		require.False(t, r.waits(p, at), want)
	}
	for range 20 {
		r.note(p, at, tm)
	}
	require.True(t, r.waits(p, at.Add(refusedMost*tm.call-1)))
	require.False(t, r.waits(p, at.Add(refusedMost*tm.call)))
	require.False(t, r.waits(&rollout.Publish{Roster: p.Roster, ExpectRoster: manifest.Sum(nil)}, at))
}
