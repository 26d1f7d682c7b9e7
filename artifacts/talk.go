package artifacts

import (
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/wire"
)

// talk bounds what the other side may say on one stream besides chunks.
type talk struct {
	pieces, said int
}

// check refuses pieces that there are not, and endless chatter: each piece can be
// announced, offered, asked for and ended, and all that several times over.
func (t *talk) check(f wire.Frame) error {
	var pieces []uint32
	switch f := f.(type) {
	case wire.Data:
		return nil
	case wire.Have:
		pieces = f.Pieces
	case wire.Soon:
		pieces = f.Pieces
	case wire.Lost:
		pieces = f.Pieces
	case wire.Offer:
		pieces = []uint32{f.Piece}
	case wire.Ask:
		pieces = []uint32{f.Piece}
	case wire.Cancel:
		pieces = []uint32{f.Piece}
	case wire.Sent:
		pieces = []uint32{f.Piece}
	case wire.Refuse:
		pieces = []uint32{f.Piece}
	}
	if t.said += max(1, len(pieces)); t.said > 16*t.pieces+1024 {
		return fmt.Errorf("%w: talks without end", errProtocol)
	}
	if i := slices.IndexFunc(pieces, func(i uint32) bool { return i >= uint32(t.pieces) }); i >= 0 {
		return fmt.Errorf("%w: %T names piece %d of %d", errProtocol, f, pieces[i], t.pieces)
	}
	return nil
}
