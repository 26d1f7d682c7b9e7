package scenario

import (
	"encoding"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each notation reads what people write, and writes one form of it.
func TestNotations(t *testing.T) {
	for _, c := range []struct {
		v interface {
			encoding.TextUnmarshaler
			encoding.TextMarshaler
		}
		good map[string]string
		bad  []string
	}{
		{new(Bytes), map[string]string{"0": "0B", "512B": "512B", "1024": "1KiB", "8MiB": "8MiB", "1536KiB": "1536KiB", "2GB": "1953125KiB", "1GiB": "1GiB"},
			[]string{"", "-1", "1.5MiB", "MiB", "99999999999GiB", "ten", "1 MiB"}},
		{new(Rate), map[string]string{"0bit/s": "0bit/s", "96bit/s": "96bit/s", "2Mbit/s": "2Mbit/s", "1500kbit/s": "1500kbit/s", "1000Mbit/s": "1Gbit/s"},
			[]string{"", "2", "2Mbit", "-1bit/s", "99999999999Gbit/s"}},
		{new(Share), map[string]string{"5%": "5%", "0.25%": "0.25%", "100%": "100%", "0%": "0%", "0.0001%": "0.0001%", "12.50%": "12.5%", "007%": "7%"},
			[]string{"", "5", "101%", "-5%", "5.%", "0.00001%", ".5%", "%", "+5%", "1e1%"}},
		{new(Amount), map[string]string{"3": "3", "25%": "25%", "majority": "majority", "0%": "0"},
			[]string{"", "-3", "few", "101%", "99999"}},
		{new(Behaviour), map[string]string{"ok": "ok", "crash-after 90s": "crash-after 1m30s", "fails-on quad": "fails-on quad"},
			[]string{"", "ok 3s", "crash-after", "crash-after -3s", "crash-after soon", "fails-on", "explodes", "crash-after 3s 4s"}},
		{new(Condition), map[string]string{"joined": "joined", "done  1.1": "done 1.1", "trial nav/1.1 + 90s": "trial nav/1.1 + 1m30s", "done 1.1+b": "done 1.1+b"},
			[]string{"", "joined 1.1", "done", "done 1.1 + -5s", "lunch", "done 1.1 1.2", " + 5s"}},
		{new(Word), map[string]string{"ship 1.1": "ship 1.1"}, []string{"", "ship", "jump 1.1", "ship 1.1 1.2"}},
		{new(Pick), map[string]string{"leader": "leader", "3": "random 3", "random 3": "random 3", "25% of model=a": "random 25% of model=a",
			"majority of voters": "majority of voters", "2 but leader": "random 2 but leader", "robots but leader cart-1": "robots but leader cart-1",
			"random 1 of phase=armed running=1.1": "random 1 of phase=armed running=1.1", "majority": "majority", "but leader": "robots but leader",
			"2 of robots base but base-1": "random 2 of robots base but base-1"},
			[]string{"", "random", "random leader", "3 leader", "of leader", "leader but", "leader but a but b", "a=b=c", "phase=", "phase=x", "Cart", "model", "majority of", "x of y", "6000", "a=\x00"}},
	} {
		for in, want := range c.good {
			require.NoError(t, c.v.UnmarshalText([]byte(in)), in)
			text, err := c.v.MarshalText()
			require.NoError(t, err)
			require.Equal(t, want, string(text), in)
			require.NoError(t, c.v.UnmarshalText(text), "%s", text)
		}
		for _, in := range c.bad {
			require.Error(t, c.v.UnmarshalText([]byte(in)), "%T: %q", c.v, in)
		}
	}
}

func TestAmountOf(t *testing.T) {
	for _, c := range []struct {
		a       Amount
		n, want int
	}{{Amount{Count: 3}, 10, 3}, {Amount{Count: 3}, 2, 2}, {Amount{Share: 25 * Percent}, 10, 3}, {Amount{Share: 1}, 10, 1}, {Amount{Share: Whole}, 10, 10},
		{Amount{Majority: true}, 4, 3}, {Amount{Majority: true}, 7, 4}, {Amount{Majority: true}, 0, 0}, {Amount{}, 5, 0}} {
		require.Equal(t, c.want, c.a.Of(c.n), "%+v of %d", c.a, c.n)
	}
}

func TestChoose(t *testing.T) {
	s := everything(t)
	choose := func(text string, draw uint64) []string {
		var p Pick
		require.NoError(t, p.UnmarshalText([]byte(text)))
		return p.Choose(draw, s.Who)
	}
	require.Equal(t, []string{"north", "south", "base-1", "base-2", "cart-1", "cart-2", "cart-3", "cart-4", "cart-5", "roam-1", "roam-2", "guard-1", "guard-2", "ring-1", "new-1"}, choose("all", 0))
	require.Equal(t, []string{"cart-2", "guard-1", "guard-2"}, choose("cart-2 group=guard cart-2", 0))
	require.Equal(t, []string{"cart-1", "cart-3", "cart-4", "cart-5"}, choose("site=hall but cart-2", 0))
	require.Equal(t, []string{"roam-1", "roam-2", "guard-1", "guard-2"}, choose("model=cart-b", 0))
	require.Empty(t, choose("leader", 0))
	three := choose("random 3 of robots", 9)
	require.Len(t, three, 3)
	require.Equal(t, three, choose("random 3 of robots", 9))
	require.NotEqual(t, three, choose("random 3 of robots", 10))
	require.Len(t, choose("majority of base", 1), 2)
}

func TestReleaseOnAModel(t *testing.T) {
	s := everything(t)
	first, bad := &s.Releases[0], &s.Releases[2]
	require.Equal(t, Bytes(3<<20), first.Bytes("cart-a"))
	require.Equal(t, Bytes(2<<20), first.Bytes("cart-b"))
	require.Equal(t, SlowLeak, first.At("cart-b").Kind)
	require.Equal(t, OK, first.At("other").Kind)
	require.Equal(t, OK, bad.At("cart-a").Kind)
	require.Equal(t, CrashAtStart, bad.At("cart-b").Kind)
	c, v := s.Releases[4].Ref().Split()
	require.Equal(t, "nav 10", c+" "+v)
}

func TestChecked(t *testing.T) {
	all := len(Invariants())
	require.Len(t, (&Expect{Safety: []string{"all"}}).Checked(), all)
	require.Len(t, (&Expect{Safety: []string{"all"}, Except: []string{"one-order", "one-leader"}}).Checked(), all-2)
	require.Equal(t, []string{"one-order"}, (&Expect{Safety: []string{"one-order"}}).Checked())
	require.Empty(t, (&Expect{Safety: []string{"none"}}).Checked())
}
