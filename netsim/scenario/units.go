package scenario

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size: "8MiB", "500kB", "512B" or a plain number of bytes.
type Bytes int64

// byteUnits are what UnmarshalText knows; MarshalText writes the binary ones.
var byteUnits = []struct {
	suffix string
	n      int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := string(text), int64(1)
	for _, u := range byteUnits {
		if s, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = s, u.n
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("%q is no size: write 8MiB, 500kB or a number of bytes", text)
	}
	*b = Bytes(n * unit)
	return nil
}

// MarshalText writes b in the largest binary unit that keeps it whole.
func (b Bytes) MarshalText() ([]byte, error) {
	for _, u := range byteUnits[:3] {
		if b > 0 && int64(b)%u.n == 0 {
			return fmt.Appendf(nil, "%d%s", int64(b)/u.n, u.suffix), nil
		}
	}
	return fmt.Appendf(nil, "%dB", int64(b)), nil
}

// Rate is a speed of a link in bits per second: "2Mbit/s", "250kbit/s", "96bit/s".
type Rate int64

var rateUnits = []struct {
	suffix string
	n      int64
}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}, {"bit/s", 1}}

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) error {
	for _, u := range rateUnits {
		s, ok := strings.CutSuffix(string(text), u.suffix)
		if n, err := strconv.ParseInt(s, 10, 64); ok && err == nil && n >= 0 && n <= math.MaxInt64/u.n {
			*r = Rate(n * u.n)
			return nil
		}
	}
	return fmt.Errorf("%q is no rate: write 2Mbit/s, 250kbit/s or 96bit/s", text)
}

// MarshalText writes r in the largest unit that keeps it whole.
func (r Rate) MarshalText() ([]byte, error) {
	for _, u := range rateUnits {
		if u.n == 1 || (r > 0 && int64(r)%u.n == 0) {
			return fmt.Appendf(nil, "%d%s", int64(r)/u.n, u.suffix), nil
		}
	}
	return nil, fmt.Errorf("rate %d", int64(r)) // unreachable: the last unit is 1
}

// Share is a part of a whole in millionths: "5%", "0.25%", at most four decimals.
type Share int32

// Percent is one hundredth of a whole, and Whole all of it.
const (
	Percent Share = 10_000
	Whole   Share = 1_000_000
)

// Permille is s in per mille, rounded down.
func (s Share) Permille() int { return int(s / 1000) }

// Float is s as a number from 0 to 1.
func (s Share) Float() float64 { return float64(s) / float64(Whole) }

// Check reports a share that is no part of a whole.
func (s Share) Check() error {
	if s < 0 || s > Whole {
		return fmt.Errorf("a share of %d millionths: want 0%% to 100%%", s)
	}
	return nil
}

// UnmarshalText reads a share of 0% to 100%.
func (s *Share) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is no share: write 5%% or 0.25%%, at most 100%%", text)
	number, ok := strings.CutSuffix(string(text), "%")
	whole, decimals, point := strings.Cut(number, ".")
	if !ok || len(whole) > 3 || len(decimals) > 4 || (point && decimals == "") {
		return bad
	}
	v, err := strconv.ParseUint(whole+decimals+strings.Repeat("0", 4-len(decimals)), 10, 31)
	if err != nil || whole == "" || Share(v) > Whole {
		return bad
	}
	*s = Share(v)
	return nil
}

// MarshalText writes s without needless zeros.
func (s Share) MarshalText() ([]byte, error) {
	text := fmt.Sprintf("%d.%04d", s/Percent, s%Percent)
	return []byte(strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "%"), nil
}

// Amount is how many of some machines: a number, a share of them (rounded up), or
// the smallest majority. At most one of the fields is set.
type Amount struct {
	Count    int
	Share    Share
	Majority bool
}

// Of is how many of n machines a means, at most n.
func (a Amount) Of(n int) int {
	switch {
	case a.Majority:
		return min(n, n/2+1)
	case a.Share > 0:
		return int((int64(n)*int64(a.Share) + int64(Whole) - 1) / int64(Whole))
	}
	return min(n, a.Count)
}

// Check reports an amount that is impossible.
func (a Amount) Check() error {
	set := 0
	for _, is := range []bool{a.Count != 0, a.Share != 0, a.Majority} {
		if is {
			set++
		}
	}
	if set > 1 || a.Count < 0 || a.Count > maxMachines || a.Share.Check() != nil {
		return fmt.Errorf("want a number up to %d, a share such as 25%%, or majority", maxMachines)
	}
	return nil
}

// UnmarshalText reads "3", "25%" or "majority".
func (a *Amount) UnmarshalText(text []byte) error {
	*a = Amount{}
	if string(text) == "majority" {
		a.Majority = true
		return nil
	}
	if strings.HasSuffix(string(text), "%") {
		return a.Share.UnmarshalText(text)
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil || n > maxMachines {
		return fmt.Errorf("%q is no amount: write a number up to %d, a share such as 25%%, or majority", text, maxMachines)
	}
	a.Count = int(n)
	return nil
}

// MarshalText undoes UnmarshalText.
func (a Amount) MarshalText() ([]byte, error) {
	switch {
	case a.Majority:
		return []byte("majority"), nil
	case a.Share > 0:
		return a.Share.MarshalText()
	}
	return strconv.AppendInt(nil, int64(a.Count), 10), nil
}

// Point is a place in metres: [x, y], or [x, y, z] above ground.
type Point struct{ X, Y, Z float64 }

// Numbers is p as a list, without a height of 0.
func (p Point) Numbers() []float64 {
	if p.Z == 0 {
		return []float64{p.X, p.Y}
	}
	return []float64{p.X, p.Y, p.Z}
}

// SetNumbers reads two or three numbers.
func (p *Point) SetNumbers(list []float64) error {
	if len(list) != 2 && len(list) != 3 {
		return fmt.Errorf("a point has 2 or 3 numbers, [x, y] or [x, y, z], not %d", len(list))
	}
	*p = Point{X: list[0], Y: list[1]}
	if len(list) == 3 {
		p.Z = list[2]
	}
	return nil
}

// Distance is how far p is from q, in metres.
func (p Point) Distance(q Point) float64 {
	return math.Hypot(math.Hypot(p.X-q.X, p.Y-q.Y), p.Z-q.Z)
}
