package gossip

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/starling-swarm/starling/gossip/member"
)

// A Conflict is one member that runs twice at this moment, which happens when a
// robot's disk was copied ("cloned card?"). Both addresses answered, and were
// found to be different runs: a robot that moved, or that has two addresses, is
// no conflict.
type Conflict struct {
	Index        member.Index
	HostA, HostB string // gossip addresses; HostA was known first
}

// askTimes is how often an address is asked before it counts as silent.
const askTimes = 3

// judge looks into names that two addresses claim. memberlist reports each
// claim, also that of a robot which merely has a new address; so both are asked
// which run they are.
func (m *Membership) judge(ctx context.Context, list *memberlist.Memberlist) error {
	asked := map[Conflict]time.Time{} // bounded by forgetting what is old, below
	for {
		select {
		case c := <-m.clashes:
			now := time.Now()
			for old, at := range asked {
				if now.Sub(at) >= m.cfg.Profile.Rejoin() {
					delete(asked, old)
				}
			}
			if _, lately := asked[c]; lately || len(asked) >= queueDepth {
				continue
			}
			asked[c] = now
			if m.twice(ctx, list, c) {
				m.log.Error("member runs twice: was its card cloned?", "member", c.Index, "addr", c.HostA, "other", c.HostB)
				offer(m, m.conflicts, c)
			}
		case <-m.answers: // to a question long closed
		case <-ctx.Done():
			return nil
		}
	}
}

// twice asks both addresses of c.
func (m *Membership) twice(ctx context.Context, list *memberlist.Memberlist, c Conflict) bool {
	runs := map[string]uint64{}
	if c.Index == m.cfg.Self {
		runs[m.advertise.String()] = m.run
	}
	nonces := map[uint64]string{newNonce(): c.HostA, newNonce(): c.HostB}
	for range askTimes {
		for nonce, addr := range nonces {
			if _, ok := runs[addr]; ok {
				continue
			}
			body := ask{nonce: nonce, reply: m.advertise.String()}.encode()
			if err := list.SendToAddress(memberlist.Address{Addr: addr}, body); err != nil {
				m.log.Debug("member not asked", "addr", addr, "err", err)
			}
		}
		timeout := time.After(m.cfg.Profile.memberlist().ProbeTimeout)
		for waiting := true; waiting; {
			select {
			case a := <-m.answers:
				if addr, ok := nonces[a.nonce]; ok && a.from == c.Index {
					runs[addr] = a.run
				}
				waiting = len(runs) < 2
			case <-timeout:
				waiting = false
			case <-ctx.Done():
				return false
			}
		}
		if len(runs) == 2 {
			return runs[c.HostA] != runs[c.HostB]
		}
	}
	return false
}

// reply answers other members' questions which run this is.
func (m *Membership) reply(ctx context.Context, list *memberlist.Memberlist) error {
	for {
		select {
		case a := <-m.asks:
			body := answer{nonce: a.nonce, run: m.run, from: m.cfg.Self}.encode()
			if err := list.SendToAddress(memberlist.Address{Addr: a.reply}, body); err != nil {
				m.log.Debug("question not answered", "addr", a.reply, "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func newNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return binary.BigEndian.Uint64(b[:])
}
