package envelope_test

import (
	"bytes"
	"crypto/ed25519"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

var kinds = []envelope.Kind{
	envelope.Plan, envelope.Intent, envelope.Publish, envelope.Roster, envelope.Genesis, envelope.Health,
	envelope.Report, envelope.Halt, envelope.Armed, envelope.Ack, envelope.Builder, envelope.Delta,
}

// word is a body that could be of any kind.
type word struct {
	Format uint   `cbor:"0,keyasint"`
	Text   string `cbor:"1,keyasint"`
}

func key(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func pub(n byte) envelope.Key { return envelope.KeyOf(key(n)) }

var scope = envelope.SwarmScope("north-field")

func sealed(k envelope.Kind, text string, signers ...byte) *envelope.Envelope {
	e := envelope.New(k, 1, scope, &word{Format: 1, Text: text})
	for _, n := range signers {
		e.Sign(key(n))
	}
	return e
}

func TestVectors(t *testing.T) {
	for _, k := range kinds {
		e := sealed(k, "all is well", 1)
		data := vector.Check(t, string(k), "envelope of kind "+string(k)+" for swarm:north-field, body {0: 1, 1: \"all is well\"}, signed by the key of seed 01…01", e.Encode())
		got, err := envelope.Decode(data, k)
		require.NoError(t, err)
		require.NoError(t, got.Verify(scope, envelope.Only(pub(1))))
		var w word
		require.NoError(t, got.Open(1, &w))
		require.Equal(t, word{1, "all is well"}, w)
		require.Equal(t, e.Digest(), got.Digest())
	}
	e := sealed(envelope.Plan, "two hands", 2, 1, 3)
	vector.Check(t, "plan-three", "a plan with three signatures, sorted by key", e.Encode())
}

func TestVerify(t *testing.T) {
	two := envelope.Keys{Keys: []envelope.Key{pub(1), pub(2), pub(3)}, Threshold: 2}
	for name, c := range map[string]struct {
		e     *envelope.Envelope
		scope string
		keys  envelope.Keys
		want  error
	}{
		"one of one":               {e: sealed(envelope.Plan, "x", 1), keys: envelope.Only(pub(1))},
		"two of three":             {e: sealed(envelope.Plan, "x", 1, 3), keys: two},
		"three of three, want two": {e: sealed(envelope.Plan, "x", 1, 2, 3), keys: two},
		"others are ignored":       {e: sealed(envelope.Plan, "x", 1, 2, 9, 8), keys: two},
		"one of three, want two":   {e: sealed(envelope.Plan, "x", 1), keys: two, want: envelope.ErrUnsigned},
		"strangers do not count":   {e: sealed(envelope.Plan, "x", 1, 8, 9), keys: two, want: envelope.ErrUnsigned},
		"nobody":                   {e: sealed(envelope.Plan, "x"), keys: two, want: envelope.ErrUnsigned},
		"no keys":                  {e: sealed(envelope.Plan, "x", 1), want: envelope.ErrUnsigned},
		"threshold 0":              {e: sealed(envelope.Plan, "x"), keys: envelope.Keys{Keys: two.Keys}, want: envelope.ErrUnsigned},
		"another swarm":            {e: sealed(envelope.Plan, "x", 1), scope: envelope.SwarmScope("south"), keys: envelope.Only(pub(1)), want: envelope.ErrKind},
		"trust root for swarm":     {e: sealed(envelope.Plan, "x", 1), scope: envelope.TrustScope(manifest.Sum(nil)), keys: envelope.Only(pub(1)), want: envelope.ErrKind},
		"signed twice by one":      {e: twice(sealed(envelope.Plan, "x", 1)), keys: two, want: envelope.ErrUnsigned},
		"wrong signature":          {e: forged(sealed(envelope.Plan, "x", 1, 2, 3)), keys: two, want: envelope.ErrUnsigned},
		"wrong signature of other": {e: forgedBy(sealed(envelope.Plan, "x", 1, 2, 9), pub(9)), keys: two},
		"body changed":             {e: bent(func(e *envelope.Envelope) { e.Body = canonical.Encode(&word{1, "y"}) }), keys: two, want: envelope.ErrUnsigned},
		"format changed":           {e: bent(func(e *envelope.Envelope) { e.Format = 2 }), keys: two, want: envelope.ErrUnsigned},
		"kind changed":             {e: bent(func(e *envelope.Envelope) { e.Kind = envelope.Intent }), keys: two, want: envelope.ErrUnsigned},
		"scope moved":              {e: bent(func(e *envelope.Envelope) { e.Scope = "swarm:s" }), scope: "swarm:s", keys: two, want: envelope.ErrUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.scope
			if s == "" {
				s = scope
			}
			require.ErrorIs(t, c.e.Verify(s, c.keys), c.want)
		})
	}
}

func twice(e *envelope.Envelope) *envelope.Envelope {
	e.Signatures = append(e.Signatures, e.Signatures[0])
	return e
}

func forged(e *envelope.Envelope) *envelope.Envelope {
	e.Signatures[1].Sig[5] ^= 1
	return e
}

func forgedBy(e *envelope.Envelope, k envelope.Key) *envelope.Envelope {
	for i := range e.Signatures {
		if e.Signatures[i].Key == k {
			e.Signatures[i].Sig[5] ^= 1
		}
	}
	return e
}

func bent(how func(*envelope.Envelope)) *envelope.Envelope {
	e := sealed(envelope.Plan, "x", 1, 2, 3)
	how(e)
	return e
}

// A signature on a document of one kind says nothing about another kind with the
// very same body.
func TestSignaturesDoNotCrossKinds(t *testing.T) {
	for _, a := range kinds {
		for _, b := range kinds {
			if a == b {
				continue
			}
			e := sealed(b, "same body")
			e.Signatures = sealed(a, "same body", 1).Signatures
			require.ErrorIs(t, e.Verify(scope, envelope.Only(pub(1))), envelope.ErrUnsigned, "%s as %s", a, b)
			_, err := envelope.Decode(sealed(a, "same body", 1).Encode(), b)
			require.ErrorIs(t, err, envelope.ErrKind, "%s as %s", a, b)
		}
	}
}

// What is signed has no second reading: moving a byte from one field to the next
// changes it.
func TestSignedBytesAreUnambiguous(t *testing.T) {
	seen := map[manifest.Digest]bool{}
	for _, e := range []*envelope.Envelope{
		{Kind: "plan", Format: 1, Scope: "ab", Body: []byte("c")},
		{Kind: "plan", Format: 1, Scope: "a", Body: []byte("bc")},
		{Kind: "pla", Format: 1, Scope: "nab", Body: []byte("c")},
		{Kind: "plan", Format: 11, Scope: "ab", Body: []byte("c")},
		{Kind: "plan", Format: 1, Scope: "ab", Body: nil},
		{Kind: "plan", Format: 1, Scope: "abc", Body: nil},
	} {
		require.False(t, seen[e.Digest()], "%+v", e)
		seen[e.Digest()] = true
	}
}

func TestDecodeRefuses(t *testing.T) {
	bend := func(k envelope.Kind, how func(*envelope.Envelope), signers ...byte) []byte {
		e := sealed(k, "x", signers...)
		how(e)
		return e.Encode()
	}
	many := make([]byte, envelope.MaxSignatures+1)
	for i := range many {
		many[i] = byte(i + 1)
	}
	for name, c := range map[string]struct {
		data []byte
		kind envelope.Kind
		want error
	}{
		"future":             {bend(envelope.Plan, func(e *envelope.Envelope) { e.Envelope = 2 }), envelope.Plan, canonical.ErrFuture},
		"a key twice":        {twice(sealed(envelope.Plan, "x", 1)).Encode(), envelope.Plan, canonical.ErrMalformed},
		"out of order":       {bend(envelope.Plan, func(e *envelope.Envelope) { s := e.Signatures; s[0], s[1] = s[1], s[0] }, 1, 2), envelope.Plan, canonical.ErrMalformed},
		"nine signatures":    {sealed(envelope.Plan, "x", many...).Encode(), envelope.Plan, canonical.ErrTooLarge},
		"two robots' health": {sealed(envelope.Health, "x", 1, 2).Encode(), envelope.Health, canonical.ErrTooLarge},
		"long scope":         {bend(envelope.Plan, func(e *envelope.Envelope) { e.Scope = strings.Repeat("s", 129) }), envelope.Plan, canonical.ErrTooLarge},
		"fat body":           {bend(envelope.Intent, func(e *envelope.Envelope) { e.Body = make([]byte, 1<<10+1) }), envelope.Intent, canonical.ErrTooLarge},
		"unknown kind":       {sealed(envelope.Plan, "x", 1).Encode(), "poem", canonical.ErrTooLarge},
		"trailing":           {append(sealed(envelope.Plan, "x", 1).Encode(), 0), envelope.Plan, canonical.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := envelope.Decode(c.data, c.kind)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, e)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	var w word
	require.ErrorIs(t, envelope.New(envelope.Plan, 2, scope, &word{}).Open(1, &w), canonical.ErrFuture)
	require.ErrorIs(t, envelope.New(envelope.Plan, 0, scope, &word{}).Open(1, &w), canonical.ErrFuture)
	e := sealed(envelope.Plan, "x")
	e.Body = append(e.Body, 0)
	require.ErrorIs(t, e.Open(1, &w), canonical.ErrMalformed)
}

func TestLimits(t *testing.T) {
	require.Zero(t, envelope.MaxBytes("poem"))
	for _, k := range kinds {
		n := sort.Search(1<<20, func(n int) bool { // the shortest text that does not fit
			return envelope.Fits(k, &word{Format: 1, Text: strings.Repeat("x", n)}) != nil
		})
		body := &word{Format: 1, Text: strings.Repeat("x", n-1)}
		require.Panics(t, func() { envelope.New(k, 1, scope, &word{Format: 1, Text: strings.Repeat("x", n)}) }, k)
		e := envelope.New(k, 1, strings.Repeat("s", 128), body)
		bare := len(e.Encode())
		for i := range envelope.MaxSignatures {
			if k == envelope.Health || k == envelope.Armed || k == envelope.Ack {
				i = 0
			}
			e.Sign(key(byte(i)))
		}
		data := e.Encode()
		require.LessOrEqual(t, len(data), envelope.MaxBytes(k), k)
		require.LessOrEqual(t, bare+2+32+64+6-len(e.Body), envelope.Overhead, k)
		_, err := envelope.Decode(data, k)
		require.NoError(t, err, k)
	}
	require.Panics(t, func() { envelope.New("poem", 1, scope, &word{}) })
}

func TestKeysCheck(t *testing.T) {
	require.NoError(t, envelope.Keys{}.Check())
	require.NoError(t, envelope.Only(pub(1)).Check())
	for name, k := range map[string]envelope.Keys{
		"threshold 0":      {Keys: []envelope.Key{pub(1)}},
		"threshold above":  {Keys: []envelope.Key{pub(1)}, Threshold: 2},
		"only a threshold": {Threshold: 1},
		"twice":            {Keys: []envelope.Key{pub(1), pub(1)}, Threshold: 1},
		"zero key":         {Keys: []envelope.Key{{}}, Threshold: 1},
		"nine":             {Keys: make([]envelope.Key, 9), Threshold: 1},
	} {
		require.Error(t, k.Check(), name)
	}
}

func TestSigner(t *testing.T) {
	k, ok := sealed(envelope.Plan, "x", 4).Signer()
	require.True(t, ok)
	require.Equal(t, pub(4), k)
	_, ok = sealed(envelope.Plan, "x", 4, 5).Signer()
	require.False(t, ok)
	require.Equal(t, sealed(envelope.Plan, "x", 1).Encode(), sealed(envelope.Plan, "x", 1, 1).Encode(), "signing again replaces")
}

func TestKeyText(t *testing.T) {
	var k envelope.Key
	b, err := pub(1).MarshalText()
	require.NoError(t, err)
	require.NoError(t, k.UnmarshalText(b))
	require.Equal(t, pub(1), k)
	require.Error(t, k.UnmarshalText(b[1:]))
	require.Error(t, k.UnmarshalText(bytes.Repeat([]byte("z"), 64)))
}

func FuzzDecode(f *testing.F) {
	for i, k := range kinds {
		f.Add(uint8(i), sealed(k, "seed", 1).Encode())
	}
	f.Add(uint8(0), sealed(envelope.Plan, "seed", 1, 2, 3).Encode())
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		k := kinds[int(i)%len(kinds)]
		e, err := envelope.Decode(data, k)
		if err != nil {
			require.Nil(t, e)
			return
		}
		require.Equal(t, data, e.Encode())
		_ = e.Verify(scope, envelope.Only(pub(1)))
		var w word
		_ = e.Open(1, &w)
	})
}
