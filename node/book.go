package node

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// book remembers where members were last heard. It is a hint: a peer that answers
// at an address must still prove its key.
type book struct {
	path string

	mu    sync.Mutex // guards what is below; never held across I/O
	addrs map[member.Index]join.Address
	dirty bool
}

// openBook returns a book also with an error: then it is empty.
func openBook(path string) (*book, error) {
	list, _, err := load[[]join.Address](path)
	b := &book{path: path, addrs: map[member.Index]join.Address{}}
	for _, a := range list {
		b.addrs[a.Member] = a
	}
	return b, err
}

// learn records an address. first keeps one that is known already.
func (b *book) learn(a join.Address, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ok := b.addrs[a.Member]
	if old == a || (ok && first) || net.ParseIP(a.Host) == nil || a.Bulk == 0 {
		return
	}
	b.addrs[a.Member], b.dirty = a, true
}

func (b *book) at(i member.Index) (join.Address, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.addrs[i]
	return a, ok
}

// all lists the addresses by member.
func (b *book) all() []join.Address {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]join.Address, 0, len(b.addrs))
	for _, a := range b.addrs {
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y join.Address) int { return int(x.Member) - int(y.Member) })
	return out
}

// save writes the book down if it changed.
func (b *book) save() error {
	b.mu.Lock()
	dirty := b.dirty
	b.dirty = false
	b.mu.Unlock()
	if !dirty {
		return nil
	}
	return save(b.path, b.all())
}

// crowdLook is the least time between two looks at who is there, in a crowd.
const crowdLook = 200 * time.Millisecond

// remember is the goroutine that fills the book from gossip and writes it down.
func (n *Node) remember(ctx context.Context) error {
	tick := time.NewTicker(n.time.remember)
	defer tick.Stop()
	var seen []gossip.Member // most are as they were: a swarm changes one by one
	for {
		select {
		case <-ctx.Done():
			return n.book.save()
		case <-n.gossip.Changes():
			members := n.gossip.Members()
			for i, m := range members {
				if i < len(seen) && seen[i] == m {
					continue
				}
				if m.Index != n.keeper.View().Self && m.Meta.Bulk != 0 {
					n.book.learn(join.Address{Member: m.Index, Host: m.Host, Gossip: m.Port, Bulk: m.Meta.Bulk, Control: m.Meta.Control}, false)
				}
			}
			seen = members
			n.changed()
			if len(members) > crowd { // they come by the dozen, and each look is at all
				select {
				case <-time.After(crowdLook):
				case <-ctx.Done():
				}
			}
		case <-tick.C:
			if err := n.book.save(); err != nil {
				n.log.Warn("addresses not written down", "err", err)
			}
		}
	}
}

// resolve finds the bulk or control address of a member by key.
func (n *Node) resolve(key envelope.Key, port func(join.Address) uint16) []string {
	k := n.keeper
	if k == nil {
		return nil
	}
	v := k.View()
	m := v.Member(key)
	if m == nil {
		return nil
	}
	var out []string
	if a, ok := n.book.at(m.Index); ok && port(a) != 0 {
		out = append(out, net.JoinHostPort(a.Host, itoa(int(port(a)))))
	}
	return out
}

func bulkPort(a join.Address) uint16    { return a.Bulk }
func controlPort(a join.Address) uint16 { return a.Control }
