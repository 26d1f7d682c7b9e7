package netsim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// A draw is where the chance for one purpose comes from: hashed from the seed and
// the purpose, so that leaving one thing out of a scenario moves no other.
type draw [sha256.Size]byte

func (w *World) draw(purpose ...any) draw { return sha256.Sum256(fmt.Append(nil, w.seed, purpose)) }

// fill fills b.
func (d draw) fill(b []byte) {
	r := rand.NewChaCha8(d)
	_, _ = r.Read(b) // never fails
}

// number is 64 bits of d.
func (d draw) number() uint64 { return binary.LittleEndian.Uint64(d[:]) }

// key is an ed25519 key.
func (d draw) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(d[:]) }
