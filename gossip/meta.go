package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/planted"
	"github.com/starling-swarm/starling/gossip/member"
)

// ErrMeta is wrapped by DecodeMeta's refusals. The member that said it is left
// out; it is broken or hostile, for every format ever written starts alike.
var ErrMeta = errors.New("gossip: unreadable metadata")

const (
	// MetaFormat is the newest metadata format this build reads and writes.
	MetaFormat = 1
	// MaxMetaBytes bounds what this build writes.
	MaxMetaBytes = 16
	// maxForeignMeta bounds what it takes from members of the future: metadata
	// is carried in every alive message, and so costs the whole swarm.
	maxForeignMeta = 64

	metaBytes    = 10 // of format 1
	metaHeadSize = 5  // format and ports, the same in every format
)

// The bits of Meta.Flags.
const (
	FlagVoter    uint8 = 1 << iota // votes in the current electorate
	FlagLeader                     // believes that it leads
	FlagOperator                   // is an operator's node
	FlagHeld                       // its gate is closed
	FlagHalted                     // a halt token is in force on it
	FlagLeaving                    // is being switched off; Leave sets it
	FlagTooOld                     // runs below the swarm's feature level

	allFlags = FlagTooOld<<1 - 1
)

// The values of Meta.Health.
const (
	HealthUnknown uint8 = 0
	HealthGood    uint8 = 1
	HealthBad     uint8 = 2
)

// A Meta is what a member says of itself to everybody, unsigned: a hint for
// displays and for choosing peers, never a reason to install or to advance.
// It holds no digests: random bytes make a full state exchange twelve times
// larger.
type Meta struct {
	Bulk, Control uint16       // ports of its two libp2p hosts; 0: none
	Release       uint8        // low bits of the running release's counter
	Phase         member.Phase // of the component it is busiest with
	Progress      uint8        // of the fetch, tens of percent: 0 to 10
	Health        uint8        // HealthUnknown, HealthGood or HealthBad
	Flags         uint8        // FlagVoter and so on
	Level         uint8        // newest feature level it can read
}

// Encode packs m into ten bytes: equal metadata has equal bytes. A number out
// of range is written as the nearest in it, an unknown phase or health as zero.
func (m Meta) Encode() []byte {
	if int(m.Phase) >= member.Phases {
		m.Phase = member.Idle
	}
	if m.Health > HealthBad {
		m.Health = HealthUnknown
	}
	b := make([]byte, metaBytes)
	b[0] = MetaFormat
	binary.BigEndian.PutUint16(b[1:], m.Bulk)
	binary.BigEndian.PutUint16(b[3:], m.Control)
	b[5] = m.Release
	b[6] = uint8(m.Phase)<<4 | min(m.Progress, 10)
	b[7] = m.Health
	b[8] = m.Flags & allFlags
	b[9] = m.Level
	if planted.Is("wide-meta") {
		sum := manifest.Sum(b)
		b = append(b, sum[:]...)
	}
	return b
}

// DecodeMeta unpacks what Encode wrote. Of a format above MetaFormat it reads
// only the ports, which stand at the same place in every format. Errors wrap
// ErrMeta and come with the zero Meta.
func DecodeMeta(b []byte) (Meta, error) {
	if len(b) < metaHeadSize || len(b) > maxForeignMeta || b[0] == 0 {
		return Meta{}, fmt.Errorf("%w: %d bytes", ErrMeta, len(b))
	}
	m := Meta{Bulk: binary.BigEndian.Uint16(b[1:]), Control: binary.BigEndian.Uint16(b[3:])}
	if b[0] > MetaFormat {
		return m, nil
	}
	if len(b) != metaBytes && !planted.Is("wide-meta") {
		return Meta{}, fmt.Errorf("%w: %d bytes, format 1 has %d", ErrMeta, len(b), metaBytes)
	}
	m.Release, m.Phase, m.Progress = b[5], member.Phase(b[6]>>4), b[6]&0x0f
	m.Health, m.Flags, m.Level = b[7], b[8], b[9]
	if int(m.Phase) >= member.Phases || m.Progress > 10 || m.Health > HealthBad || m.Flags&^allFlags != 0 {
		return Meta{}, fmt.Errorf("%w: phase %d, progress %d, health %d, flags %#x", ErrMeta, m.Phase, m.Progress, m.Health, m.Flags)
	}
	return m, nil
}
