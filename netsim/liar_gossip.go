package netsim

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
)

var gossipProfiles = map[string]gossip.Profile{"lan": gossip.LAN, "mesh": gossip.Mesh, "narrow": gossip.Narrow, "local": gossip.Local}

// gossiper takes part in the gossip under an index, from the robot's address.
func (v *villain) gossiper(ctx context.Context, as member.Index) (*gossip.Membership, error) {
	packets, err := v.m.host.ListenPacket(ctx, v.m.cfg.Gossip)
	if err != nil {
		return nil, err
	}
	streams, err := v.m.host.Listen(ctx, v.m.cfg.Gossip)
	if err != nil {
		return nil, errors.Join(err, packets.Close())
	}
	return gossip.New(gossip.Config{
		Self: as, Swarm: v.view.Swarm, Keys: v.keys, Packets: packets, Streams: streams, Dial: v.m.host.Dial,
		Advertise: v.m.cfg.Gossip, Profile: gossipProfiles[v.m.cfg.Profile], Log: v.m.cfg.Log,
		Seeds: v.others, Meta: gossip.Meta{Bulk: port(v.m.cfg.Bulk), Control: port(v.m.cfg.Control), Level: 1},
	})
}

// others are the gossip addresses of all other machines.
func (v *villain) others() (list []string) {
	for _, m := range v.w.machines() {
		if m != v.m {
			list = append(list, m.cfg.Gossip)
		}
	}
	return list
}

func port(addr string) uint16 {
	a, err := net.ResolveTCPAddr("tcp", addr) // an address of digits: nobody is asked
	if err != nil {
		return 0
	}
	return uint16(a.Port)
}

// maskFor is how long a villain goes about under another member's name, until it says
// goodbye in that name.
const maskFor = 3 * time.Second

// forgeMembership goes about in the gossip as one member after the other: says that
// they are elsewhere, and then that they are gone.
func forgeMembership(ctx context.Context, v *villain) error {
	var last error
	repeat(ctx, lieEvery, func() {
		if v.lies() {
			if err := v.masquerade(ctx, v.mask()); err != nil && ctx.Err() == nil {
				last = err
			}
		}
	})
	return last
}

// mask is another member, by chance.
func (v *villain) mask() member.Index {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.view.Roster.Members)
	return member.Index((int(v.view.Self) + 1 + v.dice.IntN(max(n-1, 1))) % n)
}

// masquerade takes part under another's name for a while and leaves in it.
func (v *villain) masquerade(ctx context.Context, as member.Index) error {
	g, err := v.gossiper(ctx, as)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	if sleepUntil(ctx, time.Now().Add(maskFor)) == nil {
		bye, enough := context.WithTimeout(ctx, callFor)
		err = g.Leave(bye)
		enough()
	}
	cancel()
	return errors.Join(err, <-done)
}
