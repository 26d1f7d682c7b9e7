package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/p2p"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// ErrRefused is returned when the operator's node does not let the robot in; the
// text says why and what to do.
var ErrRefused = errors.New("node: not let into the swarm")

// errWait is the answer of an operator's node that the swarm does not hear: ask again.
var errWait = errors.New("node: let in, but not known to the swarm yet")

// join asks the operator's node to let this robot in, until it answers.
func (n *Node) join(ctx context.Context) error {
	i := n.cfg.Invite
	q, err := i.Request(n.key(), n.cfg.Name, platform(), n.level())
	if err != nil {
		return err
	}
	if mine := cmp.Or(n.cfg.Profile, DefaultProfile); i.Profile != "" && i.Profile != mine {
		n.log.Warn("the swarm's timers are others than this node's; set the profile", "profile", mine, "swarm", i.Profile)
	}
	for {
		r, addr, err := n.askToJoin(ctx, i, q)
		if err == nil {
			return n.joined(i, r, addr)
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
		if ctx.Err() != nil { // whoever stops a node that waits has done nothing wrong
			return ctx.Err()
		}
		n.log.Warn("not let in yet, trying again", "addresses", i.Addrs, "err", err)
		n.inLine.Store(errors.Is(err, errWait))
		n.changed()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(n.time.retry)):
		}
	}
}

// askToJoin tries each address of the invite once.
func (n *Node) askToJoin(ctx context.Context, i *join.Invite, q *join.Request) (*join.Reply, string, error) {
	var errs []error
	for _, addr := range i.Addrs {
		ctx, cancel := context.WithTimeout(ctx, n.time.call)
		data, err := n.bulk.CallAt(ctx, addr, i.Operator, join.Protocol, q.Encode(), join.MaxReplyBytes)
		cancel()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r, err := join.DecodeReply(data)
		if err != nil {
			return nil, addr, err
		}
		if r.Refusal == join.Wait {
			return nil, addr, errWait
		}
		if r.Refusal != join.None {
			return nil, addr, fmt.Errorf("%w: %s", ErrRefused, r.Refusal.Text())
		}
		return r, addr, nil
	}
	return nil, "", errors.Join(errs...)
}

// joined writes down that this directory belongs to a swarm now.
func (n *Node) joined(i *join.Invite, r *join.Reply, addr string) error {
	if err := halt.Create(n.dir.path("halt"), i.Swarm); err != nil {
		return err
	}
	n.member = membership{
		Format: 1, Swarm: i.Swarm, Root: i.Root, Index: r.Index, ID: r.ID, Operator: i.Operator, Addrs: i.Addrs,
	}
	n.log.Info("joined", "swarm", i.Swarm, "member", r.ID, "by", addr)
	return save(n.dir.path("membership"), n.member)
}

// firstPull waits until this node knows the roster it stands in and the gossip
// key. A node that was in the swarm before knows both.
func (n *Node) firstPull(ctx context.Context) error {
	for {
		v := n.keeper.View()
		if v.Trust != nil && v.Me() != nil && len(v.keys) > 0 {
			return nil
		}
		if v.Trust != nil && v.Roster != nil && len(v.keys) > 0 {
			return fmt.Errorf("%w: the roster no longer has %s in it (revoked?); join again with a new invite in an empty directory", ErrRefused, v.ID)
		}
		var errs []error
		for _, addr := range n.member.Addrs {
			errs = append(errs, n.pull(ctx, n.member.Operator, addr))
		}
		if v = n.keeper.View(); v.Me() != nil && len(v.keys) > 0 {
			continue
		}
		if err := errors.Join(errs...); err != nil {
			n.log.Warn("roster not here yet, trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(n.time.retry)):
		}
	}
}

// startGossip constructs the membership, which needs the gossip key.
func (n *Node) startGossip(ctx context.Context) (err error) {
	for n.host == "" {
		if n.host, err = n.findHost(); err == nil {
			break
		}
		n.log.Warn("no way to other machines, trying again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(n.time.retry)):
		}
	}
	v := n.keeper.View()
	self, _ := n.self(v)
	n.gossip, err = gossip.New(gossip.Config{
		Self: v.Self, Swarm: v.Swarm, Keys: v.keys, Packets: n.packets, Streams: n.streams, Dial: dialer(n.cfg.Network, pace.Control),
		Advertise: net.JoinHostPort(n.host, itoa(int(self.Gossip))), Profile: n.time.gossip,
		Admit: n.admitGossip, Seeds: n.gossipSeeds, Meta: n.meta(v), Log: n.log,
	})
	return err
}

// findHost is the address that others reach this node at.
func (n *Node) findHost() (string, error) {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise, nil
	}
	if host, _, err := net.SplitHostPort(n.streams.Addr().String()); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			return host, nil
		}
	}
	var errs []error
	for _, addr := range n.member.Addrs {
		host, err := n.cfg.Network.Host(addr)
		if err == nil {
			return host, nil
		}
		errs = append(errs, err)
	}
	for _, a := range n.book.all() {
		host, err := n.cfg.Network.Host(net.JoinHostPort(a.Host, itoa(int(a.Bulk))))
		if err == nil {
			return host, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("node: cannot tell which address others reach this machine at; set advertise: %w", errors.Join(errs...))
}

// self is this node's own address; ok is false before it is known.
func (n *Node) self(v *View) (join.Address, bool) {
	a := join.Address{
		Member: v.Self, Host: n.host, Gossip: uint16(portOf(n.streams.Addr())),
		Bulk: uint16(portOf(n.bulk.Addr())), Control: uint16(portOf(n.control.Addr())),
	}
	return a, n.host != ""
}

// gossipSeeds are addresses to find the swarm again.
func (n *Node) gossipSeeds() []string {
	var out []string
	for _, a := range n.book.all() {
		out = append(out, net.JoinHostPort(a.Host, itoa(int(a.Gossip))))
	}
	return out
}

// newHost makes one of the two hosts, for a class of what is sent. wrote is told of what it sends; nil is nobody.
func (n *Node) newHost(l net.Listener, class pace.Class, port func(join.Address) uint16, wrote func(int)) (*p2p.Host, error) {
	return p2p.New(p2p.Config{
		Key: n.priv, Listener: l, Dial: dialer(n.cfg.Network, class),
		Resolve: func(k envelope.Key) []string { return n.resolve(k, port) },
		Admit:   n.admit, Known: n.known, Log: n.log, DialTimeout: n.time.dial, IdleTimeout: n.time.idle, MaxPeers: maxPeers,
		Wrote: wrote, Refused: n.turnedAway,
	})
}
