package canonical_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
)

type pair struct {
	_    struct{} `cbor:",toarray"`
	Name string
	Hash [4]byte
}

// doc has a field of every kind that documents use.
type doc struct {
	Format uint              `cbor:"0,keyasint"`
	Signed int64             `cbor:"1,keyasint"`
	Text   string            `cbor:"2,keyasint"`
	Bytes  []byte            `cbor:"3,keyasint"`
	Labels map[string]string `cbor:"4,keyasint"`
	Pairs  []pair            `cbor:"5,keyasint"`
	Ref    *pair             `cbor:"6,keyasint"`
	Maybe  uint64            `cbor:"7,keyasint,omitempty"`
	Flag   bool              `cbor:"8,keyasint"`
}

var rich = doc{
	Format: 1, Signed: -7, Text: "übung", Bytes: []byte{1, 2}, Labels: map[string]string{"site": "north", "model": "mk2"},
	Pairs: []pair{{Name: "a", Hash: [4]byte{1, 2, 3, 4}}}, Ref: &pair{Name: "r"}, Maybe: 300, Flag: true,
}

func decode(data []byte) (doc, error) {
	var d doc
	err := canonical.DecodeFormat(data, 1<<10, "doc", 1, &d)
	return d, err
}

func TestRoundTrip(t *testing.T) {
	b := canonical.Encode(&rich)
	vector.Check(t, "rich", "every kind of field, shortest form, keys sorted bytewise", b)
	d, err := decode(b)
	require.NoError(t, err)
	require.Equal(t, rich, d)
}

func TestNilIsEmpty(t *testing.T) {
	none := canonical.Encode(&doc{Format: 1})
	empty := canonical.Encode(&doc{Format: 1, Bytes: []byte{}, Labels: map[string]string{}, Pairs: []pair{}})
	require.Equal(t, empty, none)
	_, err := decode(none)
	require.NoError(t, err)
	_, err = decode(bytes.Replace(none, []byte{0x05, 0x80}, []byte{0x05, 0xf6}, 1))
	require.ErrorIs(t, err, canonical.ErrMalformed, "null for an empty list is a second spelling")
}

func TestDecodeRefuses(t *testing.T) {
	good := canonical.Encode(&doc{Format: 1})
	swap := func(from, to []byte) []byte {
		out := bytes.Replace(good, from, to, 1)
		if bytes.Equal(out, good) {
			panic("nothing to swap")
		}
		return out
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":              {nil, canonical.ErrMalformed},
		"not a map":            {[]byte{0x01}, canonical.ErrMalformed},
		"trailing byte":        {append(bytes.Clone(good), 0), canonical.ErrMalformed},
		"cut":                  {good[:len(good)-1], canonical.ErrMalformed},
		"no format":            {[]byte{0xa1, 0x01, 0x01}, canonical.ErrMalformed},
		"format 0":             {swap([]byte{0x00, 0x01}, []byte{0x00, 0x00}), canonical.ErrMalformed},
		"format 2":             {swap([]byte{0x00, 0x01}, []byte{0x00, 0x02}), canonical.ErrFuture},
		"format 2, other keys": {[]byte{0xa2, 0x00, 0x02, 0x18, 0x63, 0xf5}, canonical.ErrFuture},
		"format as text":       {[]byte{0xa1, 0x00, 0x61, 0x31}, canonical.ErrMalformed},
		"long integer":         {swap([]byte{0x00, 0x01}, []byte{0x00, 0x18, 0x01}), canonical.ErrMalformed},
		"missing field":        {[]byte{0xa1, 0x00, 0x01}, canonical.ErrMalformed},
		"unknown field":        {append(swap([]byte{0xa8}, []byte{0xa9}), 0x09, 0x01), canonical.ErrMalformed},
		"field twice":          {append(swap([]byte{0xa8}, []byte{0xa9}), 0x08, 0xf4), canonical.ErrMalformed},
		"fields out of order":  {append(append([]byte{0xa8, 0x00, 0x01}, good[5:]...), 0x01, 0x00), canonical.ErrMalformed},
		"endless map":          {append(append([]byte{0xbf}, good[1:]...), 0xff), canonical.ErrMalformed},
		"empty optional field": {append(append([]byte{0xa9}, good[1:len(good)-2]...), 0x07, 0x00, 0x08, 0xf4), canonical.ErrMalformed},
		"float for integer":    {swap([]byte{0x01, 0x00}, []byte{0x01, 0xf9, 0x00, 0x00}), canonical.ErrMalformed},
		"tag":                  {swap([]byte{0x01, 0x00}, []byte{0x01, 0xc1, 0x00}), canonical.ErrMalformed},
		"bad UTF-8":            {swap([]byte{0x02, 0x60}, []byte{0x02, 0x61, 0xff}), canonical.ErrMalformed},
		"null for text":        {swap([]byte{0x02, 0x60}, []byte{0x02, 0xf6}), canonical.ErrMalformed},
		"too large":            {append(bytes.Clone(good), make([]byte, 1<<10)...), canonical.ErrTooLarge},
		"short array of bytes": {swap([]byte{0x06, 0xf6}, []byte{0x06, 0x82, 0x60, 0x41, 0x00}), canonical.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(c.data)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// A few bytes that claim a huge list must not be believed before they are there.
func TestDecodeDoesNotTrustLengths(t *testing.T) {
	data := []byte{0xa1, 0x00, 0x01, 0x05, 0x9a, 0x00, 0x0f, 0xff, 0xff}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(data)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, canonical.ErrMalformed)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func FuzzDecode(f *testing.F) {
	f.Add(canonical.Encode(&rich))
	f.Add(canonical.Encode(&doc{Format: 1}))
	f.Add(canonical.Encode(&doc{Format: 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decode(data)
		if err == nil && !bytes.Equal(canonical.Encode(&d), data) {
			t.Fatalf("%x decodes to what encodes as %x", data, canonical.Encode(&d))
		}
	})
}
