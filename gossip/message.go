package gossip

import (
	"encoding/binary"
	"errors"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
)

// Bodies that ride inside memberlist's messages. The first byte is the kind; a
// kind that this build does not know is counted and dropped, so that kinds can
// be added. Numbers are big-endian or unsigned varints.
const (
	kindPointer = 1 // user broadcast and ping ack: a pointer
	kindState   = 2 // push/pull: a pointer, then who has said goodbye
	kindAsk     = 3 // user message to one address: which run of a member are you?
	kindAnswer  = 4 // the answer to it
)

var errMessage = errors.New("gossip: unreadable message")

// maxLeftBytes bounds the set of members that said goodbye.
const maxLeftBytes = (member.MaxMembers + 7) / 8

// A statement is the body of kindPointer and kindState.
type statement struct {
	heard Heard
	left  manifest.Bitmap // kindState only
}

func (s *statement) encode(kind byte) []byte {
	b := append(make([]byte, 0, 64), kind)
	b = binary.AppendUvarint(b, uint64(s.heard.From))
	b = binary.AppendUvarint(b, uint64(s.heard.Generation))
	b = binary.AppendUvarint(b, s.heard.Index)
	b = append(b, s.heard.Digest[:]...)
	if kind == kindState {
		b = append(b, s.left.Trim()...)
	}
	return b
}

// decodeStatement parses a body of kind; a pointer of zeros is nothing said.
func decodeStatement(b []byte, kind byte) (statement, error) {
	var s statement
	if len(b) == 0 || b[0] != kind {
		return s, errMessage
	}
	b = b[1:]
	var numbers [3]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 || (size > 1 && b[size-1] == 0) { // truncated, or a second spelling
			return s, errMessage
		}
		numbers[i], b = n, b[size:]
	}
	if numbers[0] >= member.MaxMembers || numbers[1] > 1<<32-1 || len(b) < manifest.DigestBytes {
		return s, errMessage
	}
	left := manifest.Bitmap(b[manifest.DigestBytes:])
	if len(left) > maxLeftBytes || (kind != kindState && len(left) > 0) || len(left.Trim()) != len(left) {
		return s, errMessage
	}
	s.heard.From = member.Index(numbers[0])
	s.heard.Pointer.Pointer = order.Pointer{Generation: uint32(numbers[1]), Index: numbers[2]}
	copy(s.heard.Digest[:], b)
	if len(left) > 0 {
		s.left = left.Clone()
	}
	return s, nil
}

// An ask wants to know which run of a member answers at an address; see judge.go.
type ask struct {
	nonce uint64
	reply string // host:port to answer to
}

func (a ask) encode() []byte {
	b := append(make([]byte, 0, 32), kindAsk)
	b = binary.BigEndian.AppendUint64(b, a.nonce)
	return append(b, a.reply...)
}

func decodeAsk(b []byte) (ask, error) {
	if len(b) < 10 || len(b) > 9+64 || b[0] != kindAsk {
		return ask{}, errMessage
	}
	a := ask{nonce: binary.BigEndian.Uint64(b[1:]), reply: string(b[9:])}
	if _, err := literal(a.reply); err != nil {
		return ask{}, errMessage
	}
	return a, nil
}

// An answer names the member that answers and its run.
type answer struct {
	nonce uint64
	run   uint64 // random, new for each Membership
	from  member.Index
}

func (a answer) encode() []byte {
	b := append(make([]byte, 0, 20), kindAnswer)
	b = binary.BigEndian.AppendUint64(b, a.nonce)
	b = binary.BigEndian.AppendUint64(b, a.run)
	return binary.BigEndian.AppendUint16(b, uint16(a.from))
}

func decodeAnswer(b []byte) (answer, error) {
	if len(b) != 19 || b[0] != kindAnswer {
		return answer{}, errMessage
	}
	return answer{
		nonce: binary.BigEndian.Uint64(b[1:]),
		run:   binary.BigEndian.Uint64(b[9:]),
		from:  member.Index(binary.BigEndian.Uint16(b[17:])),
	}, nil
}
