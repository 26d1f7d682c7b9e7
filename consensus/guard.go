package consensus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// maxTermLeap bounds how far one message may raise the term. Terms rise by one an
// election; a captured voter that raised it to the highest number would end all elections.
const maxTermLeap = 1 << 20

// errGuard refuses an RPC that raft would choke on or believe.
var errGuard = errors.New("consensus: refused by the guard")

// guard stands between the network and raft, for raft believes what voters send:
// it panics on a configuration it cannot parse and on an unknown type of entry,
// and takes any configuration. The guard refuses those. It also counts what each
// server has acknowledged, which raft tells nobody.
type guard struct {
	*raft.NetworkTransport
	term  func() uint64
	fits  func(raft.Configuration) error
	calls chan raft.RPC // from watch to raft; unbuffered, never closed

	mu      sync.Mutex
	matched map[raft.ServerID]uint64
}

func newGuard(t *raft.NetworkTransport, term func() uint64, fits func(raft.Configuration) error) *guard {
	return &guard{NetworkTransport: t, term: term, fits: fits, calls: make(chan raft.RPC), matched: map[raft.ServerID]uint64{}}
}

// Consumer implements raft.Transport.
func (g *guard) Consumer() <-chan raft.RPC { return g.calls }

// watch passes on what check lets through, until ctx ends.
func (g *guard) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-g.NetworkTransport.Consumer():
			if err := g.check(call.Command); err != nil {
				call.Respond(nil, err)
				continue
			}
			select {
			case g.calls <- call:
			case <-ctx.Done():
				call.Respond(nil, raft.ErrTransportShutdown)
				return nil
			}
		}
	}
}

// check says what is wrong with a request.
func (g *guard) check(command any) error {
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		if err := g.leap(c.Term); err != nil {
			return err
		}
		for i, e := range c.Entries {
			if e == nil || e.Index != c.PrevLogEntry+uint64(i)+1 {
				return fmt.Errorf("%w: entries out of order", errGuard)
			}
			if err := g.entry(e); err != nil {
				return err
			}
		}
	case *raft.InstallSnapshotRequest:
		if c.SnapshotVersion != raft.SnapshotVersionMax || c.Size < 0 || c.Size > MaxSnapshotBytes {
			return fmt.Errorf("%w: snapshot of version %d with %d bytes", errGuard, c.SnapshotVersion, c.Size)
		}
		if _, err := decodeConfiguration(c.Configuration); err != nil {
			return err // store.Create and Close check the rest of it
		}
		return g.leap(c.Term)
	case *raft.RequestVoteRequest:
		return g.leap(c.Term)
	case *raft.RequestPreVoteRequest:
		return g.leap(c.Term)
	}
	return nil
}

func (g *guard) leap(term uint64) error {
	if now := g.term(); term > now && term-now > maxTermLeap || term > math.MaxUint64/2 {
		return fmt.Errorf("%w: term %d, now is %d", errGuard, term, now)
	}
	return nil
}

func (g *guard) entry(e *raft.Log) error {
	switch e.Type {
	case raft.LogCommand, raft.LogNoop, raft.LogBarrier:
		if len(e.Data) > rollout.MaxDecisionBytes || len(e.Extensions) > 0 {
			return fmt.Errorf("%w: entry %d has %d bytes", errGuard, e.Index, len(e.Data))
		}
	case raft.LogConfiguration:
		c, err := decodeConfiguration(e.Data)
		if err != nil {
			return err
		}
		return g.fits(c)
	default:
		return fmt.Errorf("%w: entry %d is of type %d", errGuard, e.Index, e.Type)
	}
	return nil
}

// decodeConfiguration is raft.DecodeConfiguration for bytes that nobody vouches for.
func decodeConfiguration(b []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: configuration: %v", errGuard, p)
		}
	}()
	if len(b) > 4<<10 {
		return c, fmt.Errorf("%w: configuration of %d bytes", errGuard, len(b))
	}
	return raft.DecodeConfiguration(b), nil
}

// near reports whether c is the raft configuration of electorate e or on the way
// from or to it: at most one seat is missing and at most two servers are others.
func near(c raft.Configuration, e *order.Electorate) bool {
	seats := map[raft.ServerAddress]bool{}
	for _, v := range e.Voters {
		seats[address(v)] = true
	}
	have := 0
	for _, s := range c.Servers {
		if seats[s.Address] {
			have++
		}
	}
	return have > 0 && have >= len(e.Voters)-1 && len(c.Servers)-have <= 2
}

// wellFormed reports what makes c unusable by raft.
func wellFormed(c raft.Configuration) error {
	ids, voters := map[raft.ServerID]bool{}, 0
	for _, s := range c.Servers {
		_, server, err := parseAddress(s.Address)
		if err != nil {
			return err
		}
		if raft.ServerID(server) != s.ID || ids[s.ID] || (s.Suffrage != raft.Voter && s.Suffrage != raft.Nonvoter) {
			return fmt.Errorf("%w: server %.60q in the configuration", errGuard, string(s.ID))
		}
		ids[s.ID] = true
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	if voters == 0 {
		return fmt.Errorf("%w: configuration without voters", errGuard)
	}
	return nil
}

// EncodePeer implements raft.Transport. Raft names the sender twice in each message
// and only compares it: the server id does, and halves what an idle voter costs.
func (g *guard) EncodePeer(id raft.ServerID, _ raft.ServerAddress) []byte { return []byte(id) }

// AppendEntries implements raft.Transport.
func (g *guard) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := g.NetworkTransport.AppendEntries(id, to, args, resp)
	if err == nil && resp.Success && (args.PrevLogEntry > 0 || len(args.Entries) > 0) {
		g.mu.Lock()
		g.matched[id] = args.PrevLogEntry + uint64(len(args.Entries))
		g.mu.Unlock()
	}
	return err
}

// acknowledged is the last index that the server said it holds, to this leader.
func (g *guard) acknowledged(id raft.ServerID) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.matched[id]
}

// rpcTimeout is how long one message of raft may take: long enough for the largest
// decision on a slow link, short enough that a connection that died in a partition
// is found out soon after it heals.
func rpcTimeout(h time.Duration) time.Duration { return max(5*h, 500*time.Millisecond) }
