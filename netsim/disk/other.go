//go:build !linux || !(amd64 || arm64)

package disk

import (
	"errors"
	"math/rand/v2"
)

// ErrUnsupported is returned where there are no simulated disks.
var ErrUnsupported = errors.New("disk: simulated disks need Linux on amd64 or arm64")

type (
	// Config says what disks a Set holds.
	Config struct {
		Dir     string
		Forgets bool
	}
	// A Set is all disks of a simulation.
	Set struct{}
	// A Disk is one machine's.
	Disk struct{}
	// A Loss says what a power cut undid.
	Loss struct{}
)

// Available reports whether Hook works in this program.
func Available() bool { return false }

// New returns ErrUnsupported: the methods below are never called.
func New(Config) (*Set, error) { return nil, ErrUnsupported }

func (*Set) Hook() error                   { return ErrUnsupported }
func (*Set) Add(string) *Disk              { return nil }
func (*Disk) Fill(int64)                   {}
func (*Disk) Empty()                       {}
func (*Disk) Lie(string, float64, uint64)  {}
func (*Disk) Honest() (spoilt, writes int) { return 0, 0 }
func (*Disk) Cut(*rand.Rand, bool) Loss    { return Loss{} }
func (*Disk) PowerOff()                    {}
func (*Disk) PowerOn()                     {}
func (Loss) String() string                { return "" }
