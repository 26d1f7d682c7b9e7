package scenario

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// A Fault is one thing that goes wrong, when, for how long, and to whom. Exactly
// one action is set.
//
// When it starts is said by one of: At, a moment; From, a moment from which a
// lasting fault stays, until For is over or the run ends; Every, again and again
// (then From is when first, else after one Every); When, as soon as something is
// so. A lasting fault that starts with At, Every or When needs For; one that
// happens in a moment (a crash) takes none.
type Fault struct {
	At    *time.Duration `yaml:"at"`
	From  *time.Duration `yaml:"from"`
	Every time.Duration  `yaml:"every" min:"0s"`
	// Jitter moves each start by up to so much either way, by seed.
	Jitter time.Duration `yaml:"jitter"`
	// Times ends an Every; 0 goes on to the end of the run.
	Times int           `yaml:"times" max:"5000"`
	When  *Condition    `yaml:"when"`
	For   time.Duration `yaml:"for"`
	Pick  *Pick         `yaml:"pick"`
	// Spread hits those picked one by one, in an order by seed, evenly over a time.
	Spread time.Duration `yaml:"spread"`
	// Draw is the seed of what is drawn during the run; 0 is drawn from the
	// scenario's. A timeline sets it, so that a replay draws the same.
	Draw uint64 `yaml:"draw"`

	// The network.
	Partition *Partition `yaml:"partition" does:"lasting" pick:"none"`
	Clog      *Clog      `yaml:"clog" does:"lasting"`
	Swizzle   *Swizzle   `yaml:"swizzle" does:"lasting"`
	Loss      *Loss      `yaml:"loss" does:"lasting"`
	Bandwidth *Bandwidth `yaml:"bandwidth" does:"lasting"`
	Delay     *Delay     `yaml:"delay" does:"lasting"`
	Duplicate *Duplicate `yaml:"duplicate" does:"lasting"`
	Reorder   *Reorder   `yaml:"reorder" does:"lasting"`
	Garble    *Garble    `yaml:"garble" does:"lasting"`
	MTU       *MTU       `yaml:"mtu" does:"lasting"`
	// One machine.
	Crash    *Crash    `yaml:"crash" does:"moment"`
	PowerCut *PowerCut `yaml:"power_cut" does:"moment"`
	Restart  *Restart  `yaml:"restart" does:"moment"`
	Pause    *Pause    `yaml:"pause" does:"lasting"`
	SlowCPU  *SlowCPU  `yaml:"slow_cpu" does:"lasting"`
	Clock    *Clock    `yaml:"clock" does:"either"`
	DiskFull *DiskFull `yaml:"disk_full" does:"lasting"`
	BadWrite *BadWrite `yaml:"bad_write" does:"lasting"`
	// Its software, and its honesty.
	Behave *Behave `yaml:"behave" does:"either"`
	Lie    *Lie    `yaml:"lie" does:"lasting" pick:"optional"`
	// The swarm.
	MoveVoters *MoveVoters `yaml:"move_voters" does:"moment" pick:"none"`
	SwitchOff  *SwitchOff  `yaml:"switch_off" does:"either"`
	Move       *Move       `yaml:"move" does:"either"`
	Race       []Word      `yaml:"race,one" does:"moment" pick:"none"`
}

// How a fault's action lies in time.
const (
	Lasting = "lasting" // from a moment to another
	Moment  = "moment"  // happens, and is over
	Either  = "either"  // For undoes it, if it is set
)

// An action says what one key of a Fault is.
type action struct {
	key  string
	does string // Lasting, Moment or Either
	pick string // "none", "optional", or "" where a pick is needed
}

// faultActions are the actions of a Fault in the order of its fields.
var faultActions = func() (list []action) {
	t := reflect.TypeFor[Fault]()
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if does := t.Field(i).Tag.Get("does"); does != "" {
			list = append(list, action{key, does, t.Field(i).Tag.Get("pick")})
		}
	}
	return list
}()

// Action is the key of what the fault does, and its value behind a pointer (Race:
// the list); "" if not exactly one action is set.
func (f *Fault) Action() (key string, value any) {
	return soleAction(f, "at", "from", "every", "jitter", "times", "when", "for", "pick", "spread", "draw")
}

// action describes what f does; false if not exactly one action is set.
func (f *Fault) action() (action, bool) {
	key, _ := f.Action()
	i := slices.IndexFunc(faultActions, func(a action) bool { return a.key == key })
	if i < 0 {
		return action{}, false
	}
	return faultActions[i], true
}

// soleAction finds the one field of the struct at v that is set, except for some.
func soleAction(v any, except ...string) (key string, value any) {
	for _, name := range setKeys(v, except...) {
		if key != "" {
			return "", nil
		}
		key = name
	}
	if key == "" {
		return "", nil
	}
	return key, fieldByKey(v, key).Interface()
}

// setKeys lists the keys of the struct at v that hold something, except for some.
func setKeys(v any, except ...string) (keys []string) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		key, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("yaml"), ",")
		if !slices.Contains(except, key) && !s.Field(i).IsZero() {
			keys = append(keys, key)
		}
	}
	return keys
}

func fieldByKey(v any, want string) reflect.Value {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		if key, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("yaml"), ","); key == want {
			return s.Field(i)
		}
	}
	return reflect.Value{}
}
