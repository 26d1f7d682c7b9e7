// Package halt is the stop that needs no quorum: a token signed by one estop key
// freezes every robot it reaches, in any partition.
//
// A halted robot downloads nothing, arms nothing, activates nothing. It does not
// stop motors, and it does not revert: a trial that has begun runs to its own
// commit or revert. Tokens carry a counter; the highest wins, and clearing a halt
// is a token with a higher counter and the signatures that role estop-clear
// asks for. The token is kept in a file. A file that was written at joining and
// cannot be read later means halted.
package halt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
)

// Format is the newest token format this build reads and writes.
const Format = 1

var (
	// ErrUnreadable is returned when the file is gone or damaged: the robot is
	// halted until somebody writes a newer token (starling halt, then clear).
	ErrUnreadable = errors.New("halt: the halt file is missing or unreadable, so this robot counts as halted")
	// ErrOld is returned for a token that is not newer than the one known.
	ErrOld = errors.New("halt: token is not newer than the one known")
)

// A Token halts the swarm, or ends the halt.
type Token struct {
	Format  uint   `cbor:"0,keyasint"`
	Swarm   string `cbor:"1,keyasint"`
	Counter uint64 `cbor:"2,keyasint"` // the highest wins; 0 is the token written at joining
	Halted  bool   `cbor:"3,keyasint"`
	Reason  string `cbor:"4,keyasint"` // for people, at most 100 bytes
}

// Seal puts t into an unsigned envelope.
func (t *Token) Seal() *envelope.Envelope {
	return envelope.New(envelope.Halt, Format, envelope.SwarmScope(t.Swarm), t)
}

// Open verifies and parses a token of the swarm: halting needs role estop,
// clearing role estop-clear.
func Open(data []byte, swarm string, roles order.Roles) (*Token, error) {
	e, err := envelope.Decode(data, envelope.Halt)
	if err != nil {
		return nil, err
	}
	var t Token
	if err := e.Open(Format, &t); err != nil {
		return nil, err
	}
	keys := roles.EstopClear
	if t.Halted {
		keys = roles.Estop
	}
	if err := e.Verify(envelope.SwarmScope(swarm), keys); err != nil {
		return nil, err
	}
	if t.Swarm != swarm || t.Counter == 0 || len(t.Reason) > 100 {
		return nil, fmt.Errorf("halt: %w token", canonical.ErrMalformed)
	}
	return &t, nil
}

// stored is the halt file: the newest token, and the envelope that proves it to
// others (empty for the first).
type stored struct {
	Format uint   `cbor:"0,keyasint"`
	Token  Token  `cbor:"1,keyasint"`
	Sealed []byte `cbor:"2,keyasint"`
}

// A File is the robot's memory of the newest token. It is not safe for
// concurrent use.
type File struct {
	path string
	now  stored
	bad  error
	// unsaved says that now could not be written: it is tried again.
	unsaved bool
}

// Create writes the first file, which halts nothing, when a robot joins. It
// leaves a file that is there alone.
func Create(path, swarm string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	first := stored{Format: Format, Token: Token{Format: Format, Swarm: swarm}}
	return durable.WriteVital(path, canonical.Encode(first), 0o600)
}

// Load reads the file. It always returns a File; one that could not be read
// counts as halted, and Err says why.
func Load(path string) *File {
	f := &File{path: path}
	data, err := os.ReadFile(path)
	if err == nil {
		err = canonical.DecodeFormat(data, 2<<10, "halt file", Format, &f.now)
	}
	if err != nil {
		f.bad = fmt.Errorf("%w: %v", ErrUnreadable, err)
	}
	return f
}

// Err is why the file counts as unreadable, or nil.
func (f *File) Err() error { return f.bad }

// Halted reports whether the robot is halted, and why.
func (f *File) Halted() (bool, string) {
	if f.bad != nil {
		return true, f.bad.Error()
	}
	return f.now.Token.Halted, f.now.Token.Reason
}

// Counter is the newest token's.
func (f *File) Counter() uint64 { return f.now.Token.Counter }

// Sealed is the envelope of the newest token, to hand to others; nil before the
// first.
func (f *File) Sealed() []byte { return f.now.Sealed }

// Accept takes a verified token and writes it down before it returns. It returns
// ErrOld for one that is not newer.
func (f *File) Accept(t *Token, sealed []byte) error {
	if n := f.now.Token.Counter; f.bad == nil && (t.Counter < n || (t.Counter == n && !f.unsaved)) {
		return fmt.Errorf("%w: %d, known is %d", ErrOld, t.Counter, f.now.Token.Counter)
	}
	next := stored{Format: Format, Token: *t, Sealed: sealed}
	if err := durable.WriteVital(f.path, canonical.Encode(next), 0o600); err != nil {
		// A stop counts although it could not be written; and a file that is
		// gone means halted, where the old one would not.
		if t.Halted {
			f.now, f.bad, f.unsaved = next, nil, true
			err = errors.Join(err, os.Remove(f.path))
		}
		return err
	}
	f.now, f.bad, f.unsaved = next, nil, false
	return nil
}
