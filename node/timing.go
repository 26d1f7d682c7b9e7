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
	fetch     time.Duration // the same for images; a seed is asked for what it did not offer after twice as long
	heartbeat time.Duration // of raft
	call      time.Duration // one request and its answer
	dial      time.Duration // a member that is silent for so long when something is asked of it is out of reach
	remember  time.Duration // write down where members were heard
	dead      time.Duration // a voter not heard for so long may lose its seat
	up        time.Duration // a member must be there for so long to get one
	steady    time.Duration // and so long to be a founder: one that has gone would have been found dead
	idle      time.Duration // connections of which nobody has need are kept for so long
	direct    bool          // images have connections of their own: each costs 4 KB and four round trips
}

// timings are the profiles of the configuration. On a lan a lost leader is
// noticed within seconds; on a mesh control traffic is kept low; narrow is for radios of
// some 100 kbit/s that all share, where the pace of a mesh fills the air of ten nodes, a
// handshake for each report is most of what is sent, and a seed that is asked too soon
// sends everything to everybody (netsim run narrow-radio, narrow-dozen); local is for many nodes on one machine.
var timings = map[string]timing{
	"lan": {
		gossip: gossip.LAN, meta: 30 * time.Second, report: 5 * time.Second, retry: 2 * time.Second, fetch: 2 * time.Second,
		heartbeat: time.Second, call: 10 * time.Second, dial: 3 * time.Second, remember: 10 * time.Second,
		dead: 5 * time.Minute, up: time.Minute, steady: 18 * time.Second, idle: time.Minute, direct: true,
	},
	"mesh": {
		gossip: gossip.Mesh, meta: 30 * time.Second, report: 30 * time.Second, retry: 5 * time.Second, fetch: 5 * time.Second,
		heartbeat: 5 * time.Second, call: 30 * time.Second, dial: 8 * time.Second, remember: 30 * time.Second,
		dead: 10 * time.Minute, up: 2 * time.Minute, steady: time.Minute, idle: time.Minute,
	},
	"narrow": {
		gossip: gossip.Narrow, meta: 2 * time.Minute, report: time.Minute, retry: 15 * time.Second, fetch: 45 * time.Second,
		heartbeat: 20 * time.Second, call: time.Minute, dial: 8 * time.Second, remember: 30 * time.Second,
		dead: 10 * time.Minute, up: 2 * time.Minute, steady: 90 * time.Second, idle: 10 * time.Minute,
	},
	"local": {
		gossip: gossip.Local, meta: time.Second, report: time.Second, retry: 300 * time.Millisecond, fetch: 300 * time.Millisecond,
		heartbeat: 500 * time.Millisecond, call: 5 * time.Second, dial: 3 * time.Second, remember: time.Second,
		dead: 10 * time.Second, up: 2 * time.Second, steady: 2 * time.Second, idle: time.Minute, direct: true,
	},
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
