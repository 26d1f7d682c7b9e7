package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// TransferLevel is the feature level from which on a plan may have a Transfer. Below
	// it voters may be of builds that cannot read one: they would refuse the start that
	// the others carry out, and their states would part.
	TransferLevel = 2
	// MinRateBytesPerSec is the lowest limit that a plan may set. Whoever serves many
	// would be silent to each for longer than they wait, and nothing would arrive.
	MinRateBytesPerSec = 4 << 10
)

// A Transfer says how images may use the links of machines while the plan's rollout is
// running or held. It narrows what a machine's own configuration allows, and never
// widens it. Which network interfaces images use is a matter of the machine, and not
// for a plan. The zero value narrows nothing.
type Transfer struct {
	// Limits of image bytes of every machine that has the plan, per second: all that it
	// sends, all that it takes in, and what it sends to any one member. 0 is none.
	UpBytesPerSec   int64 `cbor:"0,keyasint" json:"up_bytes_per_sec"`
	DownBytesPerSec int64 `cbor:"1,keyasint" json:"down_bytes_per_sec"`
	PeerBytesPerSec int64 `cbor:"2,keyasint" json:"peer_bytes_per_sec"`
	// OnlyWhen must all hold on a robot for it to fetch images of the plan's release.
	// What it serves to others does not depend on it.
	OnlyWhen Conditions `cbor:"3,keyasint" json:"only_when"`
}

// Conditions is a set of states of a robot.
type Conditions uint8

// The conditions. A robot without a gate is always idle.
const (
	WhenCharging Conditions = 1 << iota
	WhenStill
	WhenIdle

	allConditions = WhenCharging | WhenStill | WhenIdle
)

// conditionNames are the names of the bits, from the lowest.
var conditionNames = [...]string{"charging", "still", "idle"}

// Names lists the conditions by name, in the order of their bits.
func (c Conditions) Names() []string {
	out := []string{}
	for i, name := range conditionNames {
		if c&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// ConditionsOf is the set of these names. A name that there is not, or that stands
// twice, is an error wrapping ErrPlan.
func ConditionsOf(names []string) (c Conditions, err error) {
	for _, name := range names {
		i := slices.Index(conditionNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("%w: condition %q: want %s", ErrPlan, name, strings.Join(conditionNames[:], ", "))
		}
		if c&(1<<i) != 0 {
			return 0, fmt.Errorf("%w: condition %s stands twice", ErrPlan, name)
		}
		c |= 1 << i
	}
	return c, nil
}

// MarshalJSON makes a list of names.
func (c Conditions) MarshalJSON() ([]byte, error) { return json.Marshal(c.Names()) }

// UnmarshalJSON is the inverse of MarshalJSON.
func (c *Conditions) UnmarshalJSON(data []byte) error {
	var names []string
	err := json.Unmarshal(data, &names)
	if err == nil {
		*c, err = ConditionsOf(names)
	}
	return err
}

// IsZero reports whether t narrows nothing; a plan's encoding leaves it out then.
func (t Transfer) IsZero() bool { return t == Transfer{} }

// check says what of t makes no sense.
func (t *Transfer) check(bad func(string, ...any)) {
	for _, r := range []struct {
		name string
		rate int64
	}{{"up", t.UpBytesPerSec}, {"down", t.DownBytesPerSec}, {"peer", t.PeerBytesPerSec}} {
		if r.rate != 0 && r.rate < MinRateBytesPerSec {
			bad("max_rate %s of %d bytes per second: want 0 for none, or at least %d", r.name, r.rate, MinRateBytesPerSec)
		}
	}
	if t.OnlyWhen&^allConditions != 0 {
		bad("only_when %#x: there is no such condition", uint8(t.OnlyWhen))
	}
}

// Limit makes t the plan's Transfer, and the plan's format the one that it needs.
func (p *Plan) Limit(t Transfer) {
	p.Transfer, p.Format = t, PlanFormat
	if !t.IsZero() {
		p.Format = LimitedPlanFormat
	}
}

// String is t in words: "at most 200 KiB/s up, fetching only when charging and still".
func (t Transfer) String() string {
	var out []string
	for _, r := range []struct {
		rate int64
		way  string
	}{{t.UpBytesPerSec, "up"}, {t.DownBytesPerSec, "down"}, {t.PeerBytesPerSec, "to any one member"}} {
		if r.rate > 0 {
			out = append(out, rateWords(r.rate)+" "+r.way)
		}
	}
	if len(out) > 0 {
		out[0] = "at most " + out[0]
	}
	if t.OnlyWhen != 0 {
		out = append(out, "fetching only when "+strings.Join(t.OnlyWhen.Names(), " and "))
	}
	return strings.Join(out, ", ")
}

// rateWords is a rate for people: 200 KiB/s, 1.5 MiB/s.
func rateWords(bytesPerSec int64) string {
	unit, n := "KiB", float64(bytesPerSec)/(1<<10)
	if n >= 1<<10 {
		unit, n = "MiB", n/(1<<10)
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64) + " " + unit + "/s"
}
