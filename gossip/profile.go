package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// A Profile is a set of timers that fit a kind of network. All members of a
// swarm use the same one: suspicion only works if probes keep one pace.
type Profile uint8

// The profiles.
const (
	LAN    Profile = 0 // wired or good Wi-Fi: milliseconds, hardly any loss
	Mesh   Profile = 1 // a lossy radio mesh, shared by everybody
	Local  Profile = 2 // tests and demonstrations on one machine
	Narrow Profile = 3 // a radio below 1 Mbit/s, shared by everybody
)

// String is "lan", "mesh", "local" or "narrow".
func (p Profile) String() string {
	switch p {
	case LAN:
		return "lan"
	case Mesh:
		return "mesh"
	case Local:
		return "local"
	case Narrow:
		return "narrow"
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

const (
	// dialTimeout bounds the wait for a stream: a robot that does not answer
	// in this time is out of range, and the rejoin loop has others to try.
	dialTimeout = 3 * time.Second
	// reclaimAfter is how long a member must be dead before it may come back
	// under another address. memberlist takes zero for never.
	reclaimAfter = time.Second
)

// Rejoin is how often members that are not alive are tried, ± 50 %.
func (p Profile) Rejoin() time.Duration {
	switch p {
	case Local:
		return time.Second
	case Narrow:
		return 2 * time.Minute
	}
	return 30 * time.Second
}

// MetaInterval is the least time between two changes of the metadata of one of so
// many members. A swarm carries only about ten such updates a second, all members
// together, and on a mesh members whose metadata changes all the time may use up a
// quarter of that.
func (p Profile) MetaInterval(members int) time.Duration {
	n := time.Duration(members)
	switch p {
	case Mesh:
		return max(10*time.Second, n*400*time.Millisecond)
	case Local:
		return 100 * time.Millisecond
	case Narrow:
		return max(30*time.Second, n*2*time.Second)
	}
	return max(time.Second, n*100*time.Millisecond)
}

// memberlist returns the timers in memberlist's own form.
func (p Profile) memberlist() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.TCPTimeout = 10 * time.Second
	c.DeadNodeReclaimTime = reclaimAfter
	c.UDPBufferSize = 1200 // fits every MTU in the field, tunnels included
	switch p {
	case LAN:
		// Half of memberlist's pace: one of 100 idle members then sends below
		// 1 kbit/s, and a dead one is found in 18 s (TestIdleTraffic).
		c.ProbeInterval = 2 * time.Second
		c.PushPullInterval = time.Minute
	case Mesh:
		c.ProbeInterval = 3 * time.Second
		// On a full radio answers take seconds: who counts them as lost then asks four
		// others, and makes it fuller. The last third of an interval is theirs. And a
		// stream costs ten packets where a probe through another member costs two.
		c.ProbeTimeout = 2 * time.Second
		c.DisableTcpPings = true
		c.SuspicionMult = 5
		c.SuspicionMaxTimeoutMult = 6
		c.IndirectChecks = 4
		// A member sends 3.6 kB/s of gossip at most. At twice the pace and to one more
		// each time, as it was once, four suspicions a second fill a radio that a hundred
		// members share: then probes fail, and there are more.
		c.GossipInterval = time.Second
		c.GossipToTheDeadTime = 5 * time.Minute
		c.PushPullInterval = 2 * time.Minute
	case Narrow:
		// A packet takes ten milliseconds of everybody's air, whatever is in it. At a
		// mesh's pace ten members fill a radio of 200 kbit/s when one release is shipped.
		c.ProbeInterval = 15 * time.Second
		c.ProbeTimeout = 8 * time.Second
		c.DisableTcpPings = true
		c.SuspicionMult = 4
		c.SuspicionMaxTimeoutMult = 3
		c.IndirectChecks = 2
		c.GossipInterval = 3 * time.Second
		c.GossipToTheDeadTime = 10 * time.Minute
		c.PushPullInterval = 5 * time.Minute
		c.TCPTimeout = 30 * time.Second
	case Local:
		c.ProbeInterval = 200 * time.Millisecond
		c.ProbeTimeout = 100 * time.Millisecond
		c.GossipInterval = 50 * time.Millisecond
		c.GossipToTheDeadTime = 5 * time.Second
		c.PushPullInterval = 5 * time.Second
		c.TCPTimeout = 2 * time.Second
	}
	return c
}
