package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// Silence is what was asked and not answered, by the seat itself.
func TestRoll(t *testing.T) {
	seat := func(i int, server string) order.Voter {
		return order.Voter{Key: envelope.KeyOf(seedKey(byte(i))), Server: server}
	}
	a, b := seat(1, "a"), seat(2, "b")
	begin := time.Unix(1_800_000_000, 0)
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	r := newRoll(time.Minute)
	r.watch(&order.Electorate{Voters: []order.Voter{a, b}}, begin)
	unheard := func(v order.Voter, minutes int) time.Duration {
		d, _ := r.of(v.Key, at(minutes))
		return d
	}
	for i := 1; i <= 5; i++ {
		r.note(a.Key, seatAnswer{Server: "a", Ready: true}, at(i))
		r.note(b.Key, seatAnswer{Ready: true}, at(i)) // the node is there, its replica is not
	}
	require.Zero(t, unheard(a, 5))
	require.Equal(t, 5*time.Minute, unheard(b, 5))
	require.Equal(t, 5*time.Minute, unheard(b, 65), "an hour in which nobody asked")
	require.Zero(t, unheard(a, 65))
	r.note(a.Key, seatAnswer{}, at(66))
	require.Equal(t, time.Minute, unheard(a, 66))

	r.note(b.Key, seatAnswer{Server: "b"}, at(67))
	require.Zero(t, unheard(b, 67))
	r.note(b.Key, seatAnswer{Lost: "b"}, at(68))
	_, lost := r.of(b.Key, at(68))
	require.True(t, lost)
	r.note(b.Key, seatAnswer{Lost: "an earlier one"}, at(69))
	_, lost = r.of(b.Key, at(69))
	require.False(t, lost)

	again := seat(2, "b-v7")
	for range 9 {
		r.note(b.Key, seatAnswer{}, at(80))
	}
	r.watch(&order.Electorate{Voters: []order.Voter{again}}, at(80))
	require.Zero(t, unheard(again, 80), "a new seat of the same key")
	require.Zero(t, unheard(a, 80), "no seat any more")
	r.note(a.Key, seatAnswer{}, at(81))
	require.Zero(t, unheard(a, 90))
	r.note(again.Key, seatAnswer{}, at(90))
	require.NotZero(t, unheard(again, 90))
	r.reset()
	require.Zero(t, unheard(again, 90))
}

// Which seat a node runs a replica for: its own, or the one it was invited to.
func TestPlace(t *testing.T) {
	me := order.Voter{Member: 3, Key: envelope.KeyOf(seedKey(3)), Server: "me"}
	other := order.Voter{Member: 1, Key: envelope.KeyOf(seedKey(1)), Server: "other"}
	view := func(version uint32, voters ...order.Voter) *View {
		return &View{key: me.Key, Genesis: &order.Genesis{Order: order.Order{Generation: 2}}, Electorate: &order.Electorate{Version: version, Voters: voters}}
	}
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name          string
		v             *View
		invited, lost invitation
		want          string
	}{
		{"before the first generation", &View{}, invitation{2, 2, "me-v2", soon}, invitation{}, ""},
		{"no seat", view(1, other), invitation{}, invitation{}, ""},
		{"its own", view(1, me, other), invitation{}, invitation{}, "me"},
		{"invited", view(1, other), invitation{2, 2, "me-v2", soon}, invitation{}, "me-v2"},
		{"invited and not called for", view(1, other), invitation{2, 2, "me-v2", time.Now()}, invitation{}, ""},
		{"invited in another generation", view(1, other), invitation{1, 2, "me-v2", soon}, invitation{}, ""},
		{"others got the seat", view(2, other), invitation{2, 2, "me-v2", soon}, invitation{}, ""},
		{"its log is gone", view(1, me, other), invitation{}, invitation{generation: 2, server: "me"}, ""},
		{"its log is gone, and it is asked again", view(1, me, other), invitation{2, 2, "me-v2", soon}, invitation{generation: 2, server: "me"}, "me-v2"},
		{"seated anew", view(2, order.Voter{Member: 3, Key: me.Key, Server: "me-v2"}), invitation{2, 2, "me-v2", time.Now()}, invitation{generation: 2, server: "me"}, "me-v2"},
		{"the log of an earlier generation is gone", view(1, me), invitation{}, invitation{generation: 1, server: "me"}, "me"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &voter{}
			w.seating.invited, w.seating.lost = c.invited, c.lost
			got, until := w.place(c.v)
			require.Equal(t, c.want, got)
			require.Equal(t, c.name == "invited" || c.name == "its log is gone, and it is asked again", !until.IsZero())
		})
	}
}
