package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Store bounds the images beside the slots. Above High those that nobody needs are
// removed, the oldest first, until Low holds. What the swarm runs, goes to or may go
// back to is never removed, nor what is in a slot.
type Store struct {
	// High is a share of the disk that is in use by whatever, such as 85%, or bytes that
	// these images take, such as 20GiB; "off" removes nothing. Empty is 85%.
	High Mark `yaml:"high"`
	// Low is of the same kind and below High. Empty is ten hundredths of the disk less,
	// or four fifths of the bytes.
	Low Mark `yaml:"low"`
}

// defaultHigh leaves room for a robot's data and logs, and starts before file systems
// grow slow.
const defaultHigh = 850

// A Mark is a share of a disk, in thousandths, or a number of bytes. Off is neither.
type Mark struct {
	Permille int
	Bytes    int64
}

// off is what stands for "off" until fill: no share of a disk.
var off = Mark{Permille: -1}

// UnmarshalText reads "85%", "20GiB" or "off".
func (m *Mark) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "off" {
		*m = off
		return nil
	}
	if share, ok := strings.CutSuffix(s, "%"); ok {
		f, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(f >= 0.1 && f <= 100) { // nor NaN
			return fmt.Errorf("%q is no share of a disk: write 85%%", text)
		}
		*m = Mark{Permille: int(f * 10)}
		return nil
	}
	var b Bytes
	if err := b.UnmarshalText(text); err != nil || b == 0 {
		return fmt.Errorf("%q: write a share of the disk such as 85%%, a size such as 20GiB, or off", text)
	}
	*m = Mark{Bytes: int64(b)}
	return nil
}

func (m Mark) isZero() bool { return m == Mark{} }

// fill puts in what is not said.
func (s *Store) fill() {
	if s.High.isZero() {
		s.High = Mark{Permille: defaultHigh}
	}
	if s.High == off {
		s.High, s.Low = Mark{}, Mark{}
		return
	}
	if s.Low.isZero() {
		s.Low = Mark{Permille: max(s.High.Permille-100, s.High.Permille/2), Bytes: s.High.Bytes / 5 * 4}
	}
}

func (s *Store) check() error {
	switch {
	case s.Low == off:
		return errors.New("low cannot be off: leave it out")
	case s.High.isZero():
		return nil
	case (s.High.Permille > 0) != (s.Low.Permille > 0):
		return errors.New("high and low must be of one kind: both shares of the disk, or both sizes")
	case s.Low.Permille > s.High.Permille || s.Low.Bytes > s.High.Bytes:
		return errors.New("low must be below high")
	}
	return nil
}
