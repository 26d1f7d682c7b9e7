package artifacts

import (
	"slices"

	"github.com/starling-swarm/starling/artifacts/schedule"
)

// sent is a piece that was written to a stream, and whose receiver has not said yet that
// it has it.
type sent struct {
	piece uint32
	end   func() // gives its turn back
}

// await keeps the turn of a piece until the receiver has it. Whoever never says so is
// waited for no more than for as many pieces as may be asked of one peer.
func (v *server) await(piece uint32, end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.sent) >= schedule.PerPeer {
		end()
		return
	}
	v.sent = append(v.sent, sent{piece, end})
}

// took ends the turns of pieces that the receiver has.
func (v *server) took(pieces []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent = slices.DeleteFunc(v.sent, func(s sent) bool {
		has := slices.Contains(pieces, s.piece)
		if has {
			s.end()
		}
		return has
	})
}

// giveBack ends all turns: the stream is over.
func (v *server) giveBack() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range v.sent {
		s.end()
	}
	v.sent = nil
}
