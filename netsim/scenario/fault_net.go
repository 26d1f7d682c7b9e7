package scenario

import "time"

// Ends says which packets of the picked machines a network fault touches.
type Ends struct {
	// To narrows it to links with these machines; nil is all links.
	To *Pick `yaml:"to"`
	// Direction is seen from the picked machines.
	Direction string `yaml:"direction" default:"both" oneof:"both in out"`
}

// A Partition cuts the swarm, operators and base machines included, into groups
// that do not hear each other. Exactly one of Shares, Groups, X, Y and Circle is
// set. Who is in no group is in one more, with the others.
type Partition struct {
	// Shares of all machines, by seed.
	Shares []Share `yaml:"shares"`
	Groups []Pick  `yaml:"groups"`
	// X and Y cut along lines, at these metres, where the machines are then; Circle
	// cuts the inside off.
	X      []float64 `yaml:"x,one"`
	Y      []float64 `yaml:"y,one"`
	Circle *Circle   `yaml:"circle"`
	// OneWay lets packets pass from a later group to an earlier one, not back.
	OneWay bool `yaml:"one_way"`
}

// A Clog holds packets back until it is lifted; none is lost but by overflow.
type Clog struct {
	Ends `yaml:",inline"`
}

// A Swizzle clogs the picked machines one by one, Gap apart, and when For is over
// releases them one by one in another order (FoundationDB's swizzle-clogging).
type Swizzle struct {
	Gap time.Duration `yaml:"gap" default:"1s"`
}

// Loss drops packets.
type Loss struct {
	Rate Share `yaml:"rate"`
	// Burst is how many packets in a row are lost on average: 1 is independent loss
	// (Bernoulli), more is the two states of Gilbert and Elliott.
	Burst int `yaml:"burst" default:"1" min:"1" max:"10000"`
	Ends  `yaml:",inline"`
}

// Bandwidth leaves a share of the rate.
type Bandwidth struct {
	Factor Share `yaml:"factor"`
	Ends   `yaml:",inline"`
}

// Delay adds to the latency, and to it up to Jitter more.
type Delay struct {
	Add    time.Duration `yaml:"add" max:"10m"`
	Jitter time.Duration `yaml:"jitter" max:"10m"`
	Ends   `yaml:",inline"`
}

// Duplicate sends packets twice.
type Duplicate struct {
	Rate Share `yaml:"rate"`
	Ends `yaml:",inline"`
}

// Reorder holds packets back so that later ones overtake them.
type Reorder struct {
	Rate Share         `yaml:"rate"`
	By   time.Duration `yaml:"by" default:"50ms" min:"1ms" max:"1m"`
	Ends `yaml:",inline"`
}

// Garble flips a bit in packets.
type Garble struct {
	Rate Share `yaml:"rate"`
	Ends `yaml:",inline"`
}

// MTU drops packets above a size.
type MTU struct {
	Bytes Bytes `yaml:"bytes" default:"576B" min:"64B" max:"64KiB"`
	Ends  `yaml:",inline"`
}
