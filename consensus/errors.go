package consensus

import (
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/consensus/order"
)

var (
	// ErrRefused is returned by Propose for a decision that does not hold. It wraps
	// the reason that Apply gave. Proposing the same again changes nothing.
	ErrRefused = errors.New("consensus: the decision does not hold")
	// ErrUnsure is returned by Propose when leadership was lost before the decision
	// was known to be applied: it may still be. Look at State, then propose anew.
	ErrUnsure = errors.New("consensus: leadership was lost on the way, the decision may or may not be applied")
	// ErrStopped is returned by everything that needs Run to be running.
	ErrStopped = errors.New("consensus: the replica does not run")
	// ErrNotCertified is returned by a snapshot of a state that voters have not
	// certified yet. The replica tries again after the next certificate.
	ErrNotCertified = errors.New("consensus: the state is not certified")
	// ErrForged is returned for a snapshot whose contents its certificate does not
	// prove, or that carries none. Whoever sent it is captured or broken.
	ErrForged = errors.New("consensus: the snapshot is not what voters certified")
	// ErrStranger is returned for a connection to or from somebody who has no seat.
	ErrStranger = errors.New("consensus: no seat in the electorate")
	// ErrBusy is returned by New while another process uses the directory: stop
	// that process first.
	ErrBusy = errors.New("consensus: another process uses the directory")
	// ErrOther is returned by New for a directory of another swarm or generation:
	// give each generation its own directory.
	ErrOther = errors.New("consensus: the directory belongs to another genesis")
	// ErrLost is returned by New when this seat has voted before and its log is
	// gone. Voting again with an empty memory could break promises: resign the seat
	// and be added anew under a new server id.
	ErrLost = errors.New("consensus: the log of this seat is gone; resign and be added under a new server id")
	// ErrDamaged ends Run when the directory cannot be read or written. If it is
	// not a full disk, remove the directory, resign the seat and be added under a new
	// server id.
	ErrDamaged = errors.New("consensus: the directory is damaged")
	// ErrDiverged ends Run when this replica applied what the swarm did not: voters
	// certified another state, or raft replaced entries that were applied already. A
	// hostile leader fed it. Close it and begin anew on the same directory: the state
	// is built again from the last certified snapshot and the log, which raft has put
	// right by then. If it comes again, remove the directory, resign the seat and be
	// added under a new server id.
	ErrDiverged = errors.New("consensus: this replica's log is not the swarm's")
	// ErrAhead is wrapped by a Checker that refuses an order for its time alone, which
	// is ahead of its own: a leader that hears it from too many gives up the lead.
	ErrAhead = errors.New("consensus: the order's time is ahead of this voter's")
	// ErrVow is wrapped when a signature is refused because another one was, or may
	// have been, given for the same index.
	ErrVow = errors.New("consensus: may have signed otherwise before")
)

// ErrNotLeader is returned by what only the leader can do. Leader tells whom to
// ask; its Server is empty while nobody leads: wait for Changed.
type ErrNotLeader struct{ Leader order.Voter }

func (e ErrNotLeader) Error() string {
	if e.Leader.Server == "" {
		return "consensus: no leader now"
	}
	return fmt.Sprintf("consensus: not the leader; ask member %d", e.Leader.Member)
}
