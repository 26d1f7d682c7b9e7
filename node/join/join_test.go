package join

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

func key(b byte) envelope.Key {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = b
	return envelope.KeyOf(ed25519.NewKeyFromSeed(seed))
}

func invite(t testing.TB, uses int, expires time.Time) *Invite {
	i, err := New(Invite{
		Swarm: "orchard-3", Root: manifest.Sum([]byte("root")), Operator: key(1), Addrs: []string{"10.0.0.1:7947"},
		Labels: map[string]string{"model": "mk1"}, Expires: expires, Uses: uses,
	})
	require.NoError(t, err)
	return i
}

func ask(t testing.TB, i *Invite, robot envelope.Key) *Request {
	r, err := i.Request(robot, "r07", "linux/arm64", 1)
	require.NoError(t, err)
	back, err := DecodeRequest(r.Encode())
	require.NoError(t, err)
	return back
}

func TestInviteFileRoundTrip(t *testing.T) {
	i := invite(t, 3, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	back, err := Parse(i.Encode())
	require.NoError(t, err)
	require.Equal(t, i, back)
	_, err = Parse([]byte(`{"format": 9}`))
	require.ErrorContains(t, err, "update starling")
	_, err = Parse([]byte(`{"format": 1, "id": "x", "surprise": 1}`))
	require.ErrorIs(t, err, ErrInvite)
}

func TestBookCountsUses(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	b, err := OpenBook(dir)
	require.NoError(t, err)
	i := invite(t, 2, now.Add(time.Hour))
	require.NoError(t, b.Add(i))

	use := func(r *Request, robot envelope.Key, at time.Time) Refusal {
		_, why, err := b.Use(r, robot, at)
		require.NoError(t, err)
		return why
	}
	require.Equal(t, None, use(ask(t, i, key(10)), key(10), now))
	require.Equal(t, None, use(ask(t, i, key(10)), key(10), now), "asking again is not a second use")
	require.Equal(t, ExpiredAt, use(ask(t, i, key(11)), key(11), now.Add(2*time.Hour)))
	require.Equal(t, Unknown, use(ask(t, i, key(11)), key(12), now), "a proof for another robot's key")

	b, err = OpenBook(dir)
	require.NoError(t, err)
	require.Equal(t, None, use(ask(t, i, key(11)), key(11), now), "uses survive a restart of the operator's node")
	require.Equal(t, UsedUp, use(ask(t, i, key(12)), key(12), now))
	require.Equal(t, None, use(ask(t, i, key(10)), key(10), now.Add(2*time.Hour)), "a robot that is in stays in")

	stranger := ask(t, invite(t, 2, now.Add(time.Hour)), key(13))
	require.Equal(t, Unknown, use(stranger, key(13), now))
	stranger.Invite = "../" + i.ID
	require.Equal(t, Unknown, use(stranger, key(13), now))
}

func TestProofCoversEveryField(t *testing.T) {
	i := invite(t, 1, time.Now())
	good := ask(t, i, key(10))
	require.True(t, i.Proves(good, key(10)))
	for name, change := range map[string]func(*Request){
		"name":     func(r *Request) { r.Name = "boss" },
		"platform": func(r *Request) { r.Platform = "linux/amd64" },
		"level":    func(r *Request) { r.Level++ },
		"nonce":    func(r *Request) { r.Nonce[0]++ },
		"proof":    func(r *Request) { r.Proof[0]++ },
	} {
		r := ask(t, i, key(10))
		change(r)
		require.False(t, i.Proves(r, key(10)), name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(invite(f, 1, time.Unix(2e9, 0).UTC()).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, err := Parse(data); err == nil {
			back, err := Parse(i.Encode())
			require.NoError(t, err)
			require.Equal(t, i.Token, back.Token)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(ask(f, invite(f, 1, time.Unix(2e9, 0).UTC()), key(3)).Encode())
	f.Add((&Reply{Format: 1, Index: 3, ID: "r03"}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := DecodeRequest(data); err == nil {
			require.Equal(t, data, r.Encode())
		}
		if r, err := DecodeReply(data); err == nil {
			require.Equal(t, data, r.Encode())
		}
	})
}
