package gossip

import (
	"encoding/binary"
	"errors"
	"slices"
)

// What memberlist v0.7.0 cannot bear is kept from it here. The byte that names the
// version of its encryption is not authenticated, and of version 0, which no node here
// sends, it takes the last byte for the length of a padding without looking. A message
// on a stream that is encrypted and empty it indexes all the same. Either would end the
// node, and the first needs no key: one flipped bit on the way is enough.
const (
	labelType   = 244 // then the length of the label, and the label
	encryptType = 10  // on a stream: then the length of what follows in 4 bytes, big-endian
	cipherV1    = 1   // before the nonce, the cipher text and the tag
	emptyV1     = 1 + 12 + 16
)

// oldPadding reports whether a packet claims encryption of version 0.
func oldPadding(b []byte) bool {
	return len(b) > 2 && b[0] == labelType && len(b) > 2+int(b[1]) && b[2+int(b[1])] == 0
}

var errHarmful = errors.New("gossip: the peer sends what no member would, or the way to it damages it")

// A streamHead watches the beginning of what comes on one stream, which is one message:
// whoever dialed puts a label before it, the answer has none.
type streamHead struct {
	seen   []byte // until it was judged
	judged bool
}

// read takes note of bytes that came; errHarmful says that they must go no further.
func (h *streamHead) read(b []byte) error {
	if h.judged {
		return nil
	}
	h.seen = append(h.seen, b[:min(len(b), 2+255+6-len(h.seen))]...)
	harm, enough := harmful(h.seen)
	if harm {
		return errHarmful
	}
	if enough {
		h.judged, h.seen = true, nil
	}
	return nil
}

// harmful judges the first bytes of a stream, if they are enough. Anything that is not
// encrypted memberlist refuses by itself.
func harmful(b []byte) (harm, enough bool) {
	if len(b) > 1 && b[0] == labelType {
		b = b[min(len(b), 2+int(b[1])):]
	} else if slices.Equal(b, []byte{labelType}) {
		return false, false
	}
	switch {
	case len(b) == 0:
		return false, false
	case b[0] != encryptType:
		return false, true
	case len(b) < 6:
		return false, false
	}
	return b[5] != cipherV1 || binary.BigEndian.Uint32(b[1:]) <= emptyV1, true
}
