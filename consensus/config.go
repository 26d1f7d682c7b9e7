package consensus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
)

const (
	// DefaultHeartbeat suits a LAN; 5 s suits a radio mesh.
	DefaultHeartbeat = time.Second
	// DefaultSnapshotEvery keeps the log below a few hundred KiB.
	DefaultSnapshotEvery = 256
)

// Config says who this voter is and what it may ask of its node.
type Config struct {
	// Dir holds the raft log, snapshots, certificates and the record of what was
	// signed. It belongs to one seat in one generation and to one process; it is
	// made if it does not exist.
	Dir string
	// Key signs; its public half is the key of the seat.
	Key ed25519.PrivateKey
	// Self is this robot's index in the roster.
	Self member.Index
	// Server is the raft server id of the seat, as in order.Voter. A seat that lost
	// its Dir comes back under a new one.
	Server string
	// Genesis starts the generation; it is verified already. GenesisDigest is that of
	// its envelope and TrustRoot that of the swarm's first TUF root.
	Genesis       *order.Genesis
	GenesisDigest manifest.Digest
	TrustRoot     manifest.Digest
	// Known are certified orders that the node has verified before: changes of the
	// electorate, oldest first, then the newest. A new voter finds in them whom it
	// may listen to, and a seat whose log was lost is found out. It may be empty.
	Known []order.Proven
	// Streams connects voters. Run closes it.
	Streams Streams
	// Checker says whether this voter may sign next, from what the node knows itself;
	// nil means yes, an error why not yet: it is asked again every Heartbeat. prev is
	// the newest state that is certified or that this voter signed, so that nothing
	// refused once slips in with a later order; it may lie several decisions back.
	// Neither may be changed. A nil Checker signs everything Apply let through.
	Checker func(prev, next *rollout.State) error
	// Push hands a signature of this voter, or one it knows of, to another voter,
	// whose node calls AddSignature. It may be called for several voters at once.
	Push func(ctx context.Context, to order.Voter, s SignedStatement) error
	// Heartbeat is H, the time without a word from the leader after which a voter
	// suspects it; all other times follow. Zero means DefaultHeartbeat. It must be
	// equal on all voters and above twice the worst round trip.
	Heartbeat time.Duration
	// SnapshotEvery is after how many entries the log is cut; a quarter of them stay
	// behind for voters that missed little. Zero means DefaultSnapshotEvery.
	SnapshotEvery uint64
	// Log receives what happens; nil discards it.
	Log *slog.Logger
}

// Validate reports every fault of c.
func (c *Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("consensus: "+format, args...))
		}
	}
	bad(c.Dir != "", "Dir is empty")
	bad(len(c.Key) == ed25519.PrivateKeySize, "Key has %d bytes", len(c.Key))
	bad(c.Server != "" && len(c.Server) <= 48, "Server %q must have 1 to 48 bytes", c.Server)
	bad(c.Streams != nil, "Streams is nil")
	bad(c.Push != nil, "Push is nil")
	bad(c.Heartbeat == 0 || c.Heartbeat >= 20*time.Millisecond, "Heartbeat %s is below 20ms", c.Heartbeat)
	bad(c.SnapshotEvery == 0 || c.SnapshotEvery >= 4, "SnapshotEvery %d is below 4", c.SnapshotEvery)
	bad(c.Genesis != nil, "Genesis is nil")
	if c.Genesis != nil {
		bad(c.Genesis.Seal().Digest() == c.GenesisDigest, "GenesisDigest is not that of Genesis")
	}
	return errors.Join(errs...)
}
