package node

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starling-swarm/starling/gossip"
)

// timing is how often a node does what it does again and again.
type timing struct {
	gossip    gossip.Profile
	meta      time.Duration // pull what was missed from somebody, ± 50 %
	report    time.Duration // report health though nothing changed
	retry     time.Duration // try again what a peer could not do
	heartbeat time.Duration // of raft
	call      time.Duration // one request and its answer
	dial      time.Duration // a member that is silent for so long when something is asked of it is out of reach
	remember  time.Duration // write down where members were heard
	dead      time.Duration // a voter not heard for so long may lose its seat
	up        time.Duration // a member must be there for so long to get one
	steady    time.Duration // and so long to be a founder: one that has gone would have been found dead
	direct    bool          // images have connections of their own: each costs 4 KB and four round trips
}

// timings are the profiles of the configuration. On a lan a lost leader is
// noticed within seconds; on a mesh control traffic is kept low; narrow is for radios of
// some 100 kbit/s that all share, where the pace of a mesh takes two fifths of the air
// of seven idle nodes, and a seed that is asked too soon sends everything to everybody
// (netsim run narrow-radio); local is for many nodes on one machine.
var timings = map[string]timing{
	"lan":    {gossip.LAN, 30 * time.Second, 5 * time.Second, 2 * time.Second, time.Second, 10 * time.Second, 3 * time.Second, 10 * time.Second, 5 * time.Minute, time.Minute, 18 * time.Second, true},
	"mesh":   {gossip.Mesh, 30 * time.Second, 30 * time.Second, 5 * time.Second, 5 * time.Second, 30 * time.Second, 8 * time.Second, 30 * time.Second, 10 * time.Minute, 2 * time.Minute, time.Minute, false},
	"narrow": {gossip.Mesh, 2 * time.Minute, time.Minute, 15 * time.Second, 20 * time.Second, time.Minute, 8 * time.Second, 30 * time.Second, 10 * time.Minute, 2 * time.Minute, time.Minute, false},
	"local":  {gossip.Local, time.Second, time.Second, 300 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second, 3 * time.Second, time.Second, 10 * time.Second, 2 * time.Second, 2 * time.Second, true},
}

// DefaultProfile is the profile of a node that names none.
const DefaultProfile = "lan"

func timingOf(profile string) (timing, error) {
	t, ok := timings[cmp.Or(profile, DefaultProfile)]
	if !ok {
		return timing{}, fmt.Errorf("node: profile %q: want lan, mesh, narrow or local", profile)
	}
	return t, nil
}

// jitter spreads d by ± 50 %, so that robots that started together do not act
// together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
