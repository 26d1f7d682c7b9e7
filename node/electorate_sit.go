package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus"
)

const (
	// inviteFor is how many heartbeats an invitation holds: longer than a leader needs
	// from the replica's start to the certificate, and it repeats what takes longer.
	inviteFor = 120
	// maxDamaged is how often in a row a replica may fail on its directory before that
	// counts as gone: one failure may be a full disk, or a leader that lied.
	maxDamaged = 5
)

// seating is under which server id this node runs a replica.
type seating struct {
	mu sync.Mutex // guards what follows; never held across I/O
	// invited is a seat that this node was asked to get ready for.
	invited invitation
	// lost is a seat of this node whose log is gone.
	lost invitation
}

type invitation struct {
	generation, version uint32 // version of the electorate that the seat is to be in
	server              string
	until               time.Time
}

// place is the server id that this node should run a replica under now, and until
// when if nothing else happens; "" is none.
func (w *voter) place(v *View) (server string, until time.Time) {
	if v.Electorate == nil {
		return "", time.Time{}
	}
	w.seating.mu.Lock()
	in, lost := w.seating.invited, w.seating.lost
	w.seating.mu.Unlock()
	if i := v.Electorate.Seat(v.key); i >= 0 {
		s := v.Electorate.Voters[i].Server
		if lost.generation != v.generation() || lost.server != s {
			return s, time.Time{}
		}
	}
	if in.generation != v.generation() || in.version != v.Electorate.Version+1 {
		return "", time.Time{}
	}
	if r := w.replica.Load(); r != nil {
		if e := r.State().Electorate; e.Version == in.version && e.Seat(v.key) >= 0 {
			return in.server, time.Time{} // given to it, and to be certified
		}
	}
	if time.Now().Before(in.until) {
		return in.server, in.until
	}
	return "", time.Time{}
}

// presence is how this node stands among the voters of a generation.
func (w *voter) presence(v *View, generation uint32) seatAnswer {
	a := seatAnswer{Format: seatFormat}
	me := v.Me()
	if v.generation() != generation || me == nil {
		return a
	}
	a.Ready = !me.NoVote && v.Alarm == "" && !w.n.leaving.Load()
	if s := w.serving.Load(); s != nil {
		a.Server = *s
	}
	w.seating.mu.Lock()
	defer w.seating.mu.Unlock()
	if w.seating.lost.generation == generation {
		a.Lost = w.seating.lost.server
	}
	return a
}

// takeInvitation makes this node run a replica, so that it can be given a seat, and
// returns when it does. Any voter may ask: what it may become by that is for a quorum
// of them to say.
func (w *voter) takeInvitation(ctx context.Context, peer envelope.Key, q *seatRequest) error {
	v := w.n.keeper.View()
	if v.Electorate != nil && v.generation() == q.Generation && v.Electorate.Version < q.Version {
		if err := w.n.pull(ctx, peer, ""); err != nil {
			return fmt.Errorf("behind: %w", err)
		}
		v = w.n.keeper.View()
	}
	switch {
	case v.Electorate == nil || v.generation() != q.Generation || v.Electorate.Version != q.Version:
		return errors.New("knows other voters")
	case v.Electorate.Seat(peer) < 0:
		return errors.New("asked by somebody who does not vote")
	case q.Server == "" || len(q.Server) > 48:
		return errors.New("no good name for a seat")
	case !w.presence(v, q.Generation).Ready:
		return errors.New("takes no seat now")
	}
	w.seating.mu.Lock()
	w.seating.invited = invitation{q.Generation, q.Version + 1, q.Server, time.Now().Add(inviteFor * w.n.time.heartbeat)}
	w.seating.mu.Unlock()
	w.news.wake()
	for {
		next := w.news.next()
		if s := w.serving.Load(); s != nil && *s == q.Server {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return errors.New("the replica has not started yet")
		}
	}
}

// watchSeat returns when this node should not run a replica under server any more.
func (w *voter) watchSeat(ctx context.Context, was *View, server string) error {
	for {
		next, v := w.news.next(), w.n.keeper.View()
		now, until := w.place(v)
		if v.GenesisRef != was.GenesisRef || now != server {
			return nil
		}
		lapse := time.NewTimer(time.Until(until))
		if until.IsZero() {
			lapse.Stop()
		}
		select {
		case <-ctx.Done():
		case <-v.past:
		case <-next:
		case <-lapse.C:
		}
		lapse.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// failed looks at why a replica ended. A seat whose log is gone is given up: the
// other voters hear of it when they ask, and one of them invites this node to a new one.
// It reports whether to try again at once.
func (w *voter) failed(v *View, server string, err error, took time.Duration) bool {
	n := w.n
	if errors.Is(err, consensus.ErrLost) {
		w.seating.mu.Lock()
		w.seating.lost = invitation{generation: v.generation(), server: server}
		w.seating.mu.Unlock()
		n.log.Error("the log of this seat is gone; waiting to be given a new one", "server", server, "err", err)
		n.note(Event{Kind: "seat-lost", Member: string(v.ID), Text: "the log of this voter is gone; it waits for the others to give it a new seat"})
		return true
	}
	n.log.Error("voting ended, trying again", "err", err)
	n.note(Event{Kind: "voting-ended", Text: err.Error()})
	if !errors.Is(err, consensus.ErrDamaged) && !errors.Is(err, consensus.ErrDiverged) || took > n.time.dead {
		w.damaged = 0
		return false
	}
	if w.damaged++; w.damaged < maxDamaged {
		return false
	}
	w.damaged = 0
	if err := w.setAside(v); err != nil {
		n.log.Error("directory of the seat not set aside", "err", err)
	}
	return false
}

// setAside moves a damaged directory out of the way, so that the seat counts as
// lost. One that is damaged because the disk is full stays: it is whole.
func (w *voter) setAside(v *View) error {
	if v.proven.Certificate == nil {
		return errors.New("nothing is certified yet that would tell a lost log from a first start")
	}
	probe := w.n.dir.path("raft", "probe")
	if err := errors.Join(durable.WriteFile(probe, make([]byte, 1<<20), 0o600), os.Remove(probe)); err != nil {
		return fmt.Errorf("the disk takes nothing: %w", err)
	}
	dir := w.dirOf(v)
	if err := os.RemoveAll(dir + ".damaged"); err != nil {
		return err
	}
	w.n.log.Error("the directory of this seat is damaged and set aside", "kept", dir+".damaged")
	return os.Rename(dir, dir+".damaged")
}

// dirOf is where this node keeps its seat in a generation. It stays over several
// seats: what was signed once is remembered for good.
func (w *voter) dirOf(v *View) string {
	return w.n.dir.path("raft", fmt.Sprintf("g%d", v.generation()))
}

// cutOff ends the connections of members that were revoked: their voters' streams
// would live on.
func (w *voter) cutOff(v *View) {
	if v.Roster == nil {
		return
	}
	for _, m := range v.Roster.Members {
		if m.Revoked {
			w.n.control.Disconnect(m.Key)
		}
	}
}
