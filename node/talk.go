package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/starling-swarm/starling/artifacts/pace"
)

// Of what leaves a node beside images and documents only requests wait for their turn, in
// ask. An answer is counted: it is short, what was asked for is done, and whoever does not
// get it asks again.

// charge takes control traffic out of what images and requests may use.
func (n *Node) charge(bytes int) {
	// Control never waits, so there is no error either.
	_ = n.exchange.Wait(context.Background(), pace.Control, bytes)
}

// errPutOff is what was not said, for others go first and it would have come too late.
var errPutOff = errors.New("node: put off: what may be sent beside images is used up (transfer.max_rate.control)")

// talk returns when so many bytes may be asked of a member, or why they may not.
func (n *Node) talk(ctx context.Context, bytes int) error {
	err := n.exchange.Wait(ctx, pace.Talk, bytes)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errPutOff, err)
	}
	return err
}
