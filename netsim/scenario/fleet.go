package scenario

import "time"

// A Group is robots of one kind. They are called <group>-1 to <group>-<count>.
type Group struct {
	Name  string `yaml:"name"`
	Count int    `yaml:"count" default:"1" min:"1" max:"5000"`
	// Model is the hardware that release variants match.
	Model string `yaml:"model" default:"robot"`
	// Labels are what the invite says besides the model.
	Labels map[string]string `yaml:"labels"`
	// Radio is a preset of the network's.
	Radio string `yaml:"radio" default:"lan" oneof:"lan wifi-mesh tactical lte satellite xbee-900"`
	// Range overrides the preset's, in metres; 0 does not.
	Range    float64  `yaml:"range" min:"0"`
	Device   Device   `yaml:"device"`
	Place    Place    `yaml:"place"`
	Mobility Mobility `yaml:"mobility"`
	// Late robots are not there at the start: a step of the story invites them.
	Late bool `yaml:"late"`
}

// A Device is how fast a robot's computer is, since computing costs no virtual
// time by itself. The defaults are those of a small ARM board with an SD card.
type Device struct {
	Hash  Bytes `yaml:"hash" default:"200MiB" min:"1KiB"` // hashed per second
	Flash Bytes `yaml:"flash" default:"20MiB" min:"1KiB"` // written per second
	// Slow makes everything that many times slower.
	Slow int `yaml:"slow" default:"1" min:"1" max:"1000"`
	// Boot is from power to a running node.
	Boot time.Duration `yaml:"boot" default:"2s" max:"1h"`
}

// A Place says where robots stand at the start. At most one field is set; none is
// [0, 0]. Along a line, grid or circle they stand in the order of their numbers.
type Place struct {
	At     *Point  `yaml:"at"`     // all on one spot
	Area   *Span   `yaml:"area"`   // anywhere in a rectangle, by seed
	Line   *Span   `yaml:"line"`   // evenly from end to end
	Grid   *Grid   `yaml:"grid"`   // evenly in rows
	Circle *Circle `yaml:"circle"` // evenly round a centre
}

// A Span is two ends, or two opposite corners.
type Span struct {
	From Point `yaml:"from"`
	To   Point `yaml:"to"`
}

// A Grid is a rectangle cut into rows of Columns spots.
type Grid struct {
	Span    `yaml:",inline"`
	Columns int `yaml:"columns" default:"1" min:"1" max:"5000"`
}

// A Circle is a centre and a radius in metres.
type Circle struct {
	Center Point   `yaml:"center"`
	Radius float64 `yaml:"radius" min:"0"`
}

// Mobility says how robots move. At most one field is set; none is not at all. A
// formation moves as one: each robot keeps its distance from where the group's
// first one stood.
type Mobility struct {
	// Waypoints are reached at their times, and left at once; the last is stayed at.
	Waypoints []Waypoint `yaml:"waypoints"`
	// RandomWaypoint drives to random points in the world's area, each robot for
	// itself (Johnson and Maltz, DSR, 1996).
	RandomWaypoint *RandomWaypoint `yaml:"random_waypoint"`
	// Patrol drives along points and from the last to the first, for ever.
	Patrol *Patrol `yaml:"patrol"`
	// Trace is a CSV file of lines t,id,x,y,z beside the scenario's: seconds, a
	// robot's name, metres. ParseTrace reads it.
	Trace string `yaml:"trace"`
}

// A Waypoint is where the group's first robot is at a time.
type Waypoint struct {
	At time.Duration `yaml:"at"`
	To Point         `yaml:"to"`
}

// RandomWaypoint is a speed in metres per second, and a rest at each point.
type RandomWaypoint struct {
	Speed float64       `yaml:"speed" default:"1" min:"0.001" max:"1000"`
	Pause time.Duration `yaml:"pause"`
}

// A Patrol is a round trip at a speed in metres per second.
type Patrol struct {
	Points []Point `yaml:"points"`
	Speed  float64 `yaml:"speed" default:"1" min:"0.001" max:"1000"`
}

// Base are machines without payload, called base-1 to base-<count>.
type Base struct {
	Count int     `yaml:"count" max:"100"`
	Radio string  `yaml:"radio" default:"lan" oneof:"lan wifi-mesh tactical lte satellite xbee-900"`
	Range float64 `yaml:"range" min:"0"`
	Place Place   `yaml:"place"`
}

// An Operator is a laptop with the operator's keys and a node.
type Operator struct {
	Name  string  `yaml:"name"`
	Radio string  `yaml:"radio" default:"lan" oneof:"lan wifi-mesh tactical lte satellite xbee-900"`
	Range float64 `yaml:"range" min:"0"`
	At    Point   `yaml:"at"`
}
