// Package canonical encodes documents as deterministic CBOR (RFC 8949 §4.2.1)
// and decodes them without trust.
//
// Every document that Starling signs, hashes or replicates goes through this
// package, so that equal documents have equal bytes on every robot. Decoding
// is strict: a document larger than its limit, with trailing bytes, an unknown
// field, a duplicate key or an indefinite length is refused, and so is one
// whose bytes are not what Encode would have written. Bytes from outside
// therefore cannot have two spellings, and cannot make the decoder allocate
// more than a small multiple of their own length.
//
// The first field (key 0) of every top-level document is its format number.
// A number above what this build reads is ErrFuture, not garbage.
package canonical

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

var (
	// ErrMalformed is wrapped by every refusal of bytes that are not a
	// canonical document. The bytes are useless; ask another peer.
	ErrMalformed = errors.New("canonical: malformed document")
	// ErrTooLarge is returned before decoding a document above its limit.
	ErrTooLarge = errors.New("canonical: document too large")
	// ErrFuture is returned for a format number above what this build reads.
	// The document may be good: update Starling on this machine.
	ErrFuture = errors.New("canonical: format from the future")
)

var (
	encMode cbor.EncMode
	decMode cbor.DecMode
)

func init() {
	opts := cbor.CoreDetEncOptions()
	// A nil slice or map is an empty one: otherwise one document would have two
	// spellings, and which one would depend on how it was built.
	opts.NilContainers = cbor.NilContainerAsEmpty
	var err error
	if encMode, err = opts.EncMode(); err != nil {
		panic(err)
	}
	decMode, err = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   12,
		MaxArrayElements:  1 << 20,
		MaxMapPairs:       1 << 16,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
}

// Encode returns the one encoding of v. It panics if v has a type that CBOR
// cannot express, which is a bug in this repository.
func Encode(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("canonical: encode %T: %v", v, err))
	}
	return b
}

// Decode parses data, which may be at most limit bytes, into v, a pointer to a
// zero value. Errors wrap ErrTooLarge or ErrMalformed; *v is then meaningless.
func Decode(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), limit)
	}
	if err := decMode.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	again, err := encMode.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not the deterministic encoding", ErrMalformed)
	}
	return nil
}

// DecodeFormat is Decode for a document whose key 0 is a format number. It
// looks at that number first and returns ErrFuture, naming the document as
// what, if it is above newest; zero is malformed.
func DecodeFormat(data []byte, limit int, what string, newest uint, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%s: %w: %d bytes, the limit is %d", what, ErrTooLarge, len(data), limit)
	}
	format, err := peekFormat(data)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if format > newest {
		return fmt.Errorf("%s: %w: format %d, this build reads up to %d; update starling", what, ErrFuture, format, newest)
	}
	if err := Decode(data, limit, v); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// peekFormat reads key 0 of a map: in deterministic order it is the first.
func peekFormat(data []byte) (uint, error) {
	head := 1
	if len(data) > 0 && data[0] == 0xb8 { // 24 to 255 pairs: the count follows
		head = 2
	}
	if len(data) < head+2 || data[0]>>5 != 5 || data[0]&0x1f > 24 || data[head] != 0 {
		return 0, fmt.Errorf("%w: no format number", ErrMalformed)
	}
	var format uint
	if _, err := decMode.UnmarshalFirst(data[head+1:], &format); err != nil || format == 0 {
		return 0, fmt.Errorf("%w: no format number", ErrMalformed)
	}
	return format, nil
}
