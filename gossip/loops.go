package gossip

import (
	"context"
	"time"

	"github.com/hashicorp/memberlist"
)

// leaveTimeout bounds each half of a goodbye: the metadata that says why this
// node will be gone, and memberlist's own word that it is.
const leaveTimeout = 5 * time.Second

// leaveRounds is after how many rounds of gossip the metadata of a goodbye is said
// again. Three or four carry it out to a hundred members; but memberlist v0.7.0
// may lose a broadcast that replaced the only one in its queue, when others of
// equal length follow (hashicorp/memberlist#322). A member that hands its lead
// over and then leaves does just that.
const leaveRounds = 5

// SetMeta changes what this node says of itself. It never blocks: changes that
// come faster than Profile.MetaInterval are merged, and only the last is said.
func (m *Membership) SetMeta(meta Meta) {
	m.say(meta)
	nudge(m.metaNews)
}

// say makes meta what this node says of itself next. A goodbye stays said,
// whatever the caller sets while it is on its way.
func (m *Membership) say(meta Meta) {
	for {
		old := m.meta.Load()
		meta.Flags |= old.Flags & FlagLeaving
		if m.meta.CompareAndSwap(old, &meta) {
			break
		}
	}
	m.table.spoke(meta)
}

// Leave says goodbye, so that the others show this node as left and not as
// dead, and returns when that went out or nobody is there to hear it. It is
// final: to come back, make a new Membership. It returns ErrNotRunning outside
// Run, and ctx's error if ctx ends first.
func (m *Membership) Leave(ctx context.Context) error {
	if m.list.Load() == nil {
		return ErrNotRunning
	}
	reply := make(chan error, 1)
	select {
	case m.leaving <- reply:
	case <-m.done:
		return ErrNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// speak owns what this node says of itself: its metadata and its goodbye.
func (m *Membership) speak(ctx context.Context, list *memberlist.Memberlist) error {
	said := m.cfg.Meta.Encode()
	var last time.Time
	timer := time.NewTimer(0)
	timer.Stop()
	for waiting := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-m.metaNews:
			if !waiting && !m.left.Load() {
				waiting = true
				timer.Reset(m.cfg.Profile.MetaInterval(m.table.alive()) - time.Since(last))
			}
		case <-timer.C:
			waiting = false
			now := m.meta.Load().Encode()
			if m.left.Load() || string(now) == string(said) {
				continue
			}
			said, last = now, time.Now()
			m.count.metaUpdates.Add(1)
			m.update(list, time.Nanosecond)
		case reply := <-m.leaving:
			reply <- m.goodbye(ctx, list)
		}
	}
}

// update gossips the metadata and says whether it was out before wait passed. If
// not it mostly still goes out; see leaveRounds.
func (m *Membership) update(list *memberlist.Memberlist, wait time.Duration) bool {
	err := list.UpdateNode(wait) // its only error is that wait passed
	if err != nil {
		m.log.Debug("metadata on its way", "member", m.cfg.Self)
	}
	return err == nil
}

func (m *Membership) goodbye(ctx context.Context, list *memberlist.Memberlist) error {
	if m.left.Load() {
		return nil
	}
	meta := *m.meta.Load()
	meta.Flags |= FlagLeaving
	m.say(meta)
	// memberlist does not tell its delegates whether a member left or died:
	// the flag does, so it goes first.
	again := leaveRounds * m.cfg.Profile.memberlist().GossipInterval
	for end := time.Now().Add(leaveTimeout); !m.update(list, again) && time.Now().Before(end); {
		if ctx.Err() != nil {
			return ctx.Err() // nobody hears it any more
		}
	}
	m.left.Store(true)
	return list.Leave(leaveTimeout)
}

// hand gives pointers to the caller, the best one each time.
func (m *Membership) hand(ctx context.Context) error {
	for {
		h, ok := m.board.next()
		out := m.heard
		if !ok {
			out = nil
		}
		select {
		case out <- h:
			m.board.read(h, time.Now())
		case <-m.boardNews:
		case <-ctx.Done():
			return nil
		}
	}
}

// tell logs what happens to members, outside memberlist's lock.
func (m *Membership) tell(ctx context.Context) error {
	for {
		select {
		case e := <-m.events:
			row, _ := m.table.lookup(e.index)
			m.log.Info("member "+e.state.String(), "member", e.index, "addr", row.Addr())
		case <-ctx.Done():
			return nil
		}
	}
}
