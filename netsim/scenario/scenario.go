// Package scenario is the text form of a simulated swarm: its robots and their
// world, its releases, what its operators do, what goes wrong, and what must hold
// in the end.
//
// A [Scenario] is plain data. [Parse] reads its YAML strictly and checks it,
// [Scenario.Print] writes the canonical form, and Parse gives back what Print was
// given. This package runs nothing and knows nothing of nodes or networks: package
// netsim translates a scenario for both.
//
//	name: canary-with-split
//	about: The swarm splits while canaries soak, and nothing starts in the minority.
//	seed: 42
//	duration: 15m
//	fleet:
//	  - {name: cart, count: 12, model: cart-a, radio: wifi-mesh}
//	releases:
//	  - {version: "1.0", size: 2MiB}
//	  - {version: "1.1", size: 2MiB, shared: 60%}
//	story:
//	  - {after: joined, ship: {version: "1.1", canary: 10%, soak: 20s}}
//	faults:
//	  - {when: canary 1.1, for: 2m, partition: {shares: [60%, 40%]}}
//	  - {at: 6m, pick: leader, crash: {restart: 40s}}
//	expect: {active: "1.1", converge_within: 12m}
//
// Chance is drawn from the seed before the run wherever it can be:
// [Scenario.Timeline] turns "every 2m, give or take 30s, 3 of the carts" into times
// and names. Only picks that depend on what happens (leader, voters, canaries)
// stay as they are. Each fault has its own generator, so leaving one out does not
// move the others, and [Scenario.Smaller] can look for the smallest scenario that
// still fails.
package scenario

import (
	"errors"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// ErrScenario is wrapped by every complaint about a scenario. The complaints
// themselves are [*strict.Problem]s.
var ErrScenario = errors.New("scenario")

// maxMachines bounds all machines of a scenario together.
const maxMachines = 5000

// A Scenario is one story about a swarm. All times count from its start.
type Scenario struct {
	// Name is 1 to 32 of a-z 0-9 . - _ and names its file in a library.
	Name string `yaml:"name"`
	// About is one sentence for people.
	About string `yaml:"about"`
	// Seed starts every generator of the run.
	Seed uint64 `yaml:"seed" default:"1"`
	// Duration is when the run ends, if what is expected has not come true before.
	Duration time.Duration `yaml:"duration" default:"10m" min:"1s" max:"30d"`
	World    World         `yaml:"world"`
	// Fleet are the robots, by kind.
	Fleet []Group `yaml:"fleet"`
	// Base are machines without payload that vote, seed and relay.
	Base Base `yaml:"base"`
	// Operators are one or two laptops with the keys. The first founds the swarm.
	Operators []Operator `yaml:"operators" default:"[{name: operator}]"`
	// Releases in the order in which they are built. The first of each component
	// is what robots join with.
	Releases []Release `yaml:"releases"`
	// Story is what the operators do, one step after the other.
	Story []Step `yaml:"story"`
	// Faults are what goes wrong, in any order.
	Faults []Fault `yaml:"faults"`
	Expect Expect  `yaml:"expect"`
}

// A World is where the robots are and how they hear each other.
type World struct {
	// Area is the far corner of the rectangle from [0, 0] that random waypoints
	// stay in, in metres; [0, 0] is no such rectangle.
	Area Point `yaml:"area"`
	// Routing says who reaches whom: none (neighbours in range only), mesh (over
	// several hops) or star (through Hub).
	Routing string `yaml:"routing" default:"mesh" oneof:"none mesh star"`
	// Hub is the machine in the middle of a star.
	Hub string `yaml:"hub"`
	// Profile sets the nodes' timers: lan, mesh, narrow or local.
	Profile string `yaml:"profile" default:"lan" oneof:"lan mesh narrow local"`
	Voters  Voters `yaml:"voters"`
	// Control is what each node may send per second beside images and documents: see
	// node.Config.ControlBytesPerSec. Zero is no limit.
	Control Bytes `yaml:"control"`
	// Links are differences from what radios and places give.
	Links []Link `yaml:"links"`
}

// Voters says who should carry the replicated log.
type Voters struct {
	// Count is how many vote. 4 bear one that lies or is away, 7 bear two.
	Count int `yaml:"count" default:"4" min:"1" max:"7"`
	// Prefer are machines that should vote if they can.
	Prefer *Pick `yaml:"prefer"`
}

// A Link changes what lies between two sets of machines, in both directions
// unless OneWay. What is not set stays as it was.
type Link struct {
	From    Pick           `yaml:"from"`
	To      Pick           `yaml:"to"`
	Latency *time.Duration `yaml:"latency" max:"1m"`
	Jitter  *time.Duration `yaml:"jitter" max:"1m"`
	Rate    *Rate          `yaml:"rate" min:"1bit/s"`
	Queue   *Bytes         `yaml:"queue"`
	Loss    *Share         `yaml:"loss"`
	MTU     *Bytes         `yaml:"mtu" min:"64B"`
	OneWay  bool           `yaml:"one_way"` // only from From to To
}

// Parse reads and checks a scenario. name is what its errors call the file. Every
// complaint that can be found is reported; each wraps ErrScenario and shows file,
// line and column. On an error there is no scenario.
func Parse(name string, data []byte) (*Scenario, error) {
	s := new(Scenario)
	doc, err := strict.Decode(name, data, s)
	if err != nil {
		return nil, wrap(err)
	}
	if err := s.validate(doc); err != nil {
		return nil, err
	}
	return s, nil
}

// Print writes s in canonical form: Parse gives an equal scenario back if s is
// valid. What has its default is left out, and comments are not kept.
func (s *Scenario) Print() []byte { return strict.Encode(s) }

// Defaults fills in what a scenario made in Go leaves zero, as Parse does for keys
// that a file leaves out.
func (s *Scenario) Defaults() { strict.Fill(s) }

// Validate reports everything that makes s impossible, by the path of the value,
// each complaint wrapping ErrScenario. Parse has done so already.
func (s *Scenario) Validate() error { return s.validate(nil) }

// Clone is a copy of s that shares nothing with it.
func (s *Scenario) Clone() *Scenario { return strict.Clone(s) }

// complaint wraps the problems of one scenario without a word of its own, so that
// a message starts with the place.
type complaint struct{ err error }

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return complaint{err}
}

func (c complaint) Error() string   { return c.err.Error() }
func (c complaint) Unwrap() []error { return []error{ErrScenario, c.err} }
