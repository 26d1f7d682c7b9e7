package api_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
)

// The table is documented and scripts depend on it: rows may be added, none may
// change.
func TestExitCodesAreWhatIsDocumented(t *testing.T) {
	got := map[api.Code]int{}
	for _, c := range api.Codes() {
		require.NotEmpty(t, c.Meaning)
		got[c.Code] = c.Exit
	}
	require.Equal(t, map[api.Code]int{
		"done": 0, "failed": 1, "usage": 2, "halted": 3, "waiting": 4, "timed_out": 5, "no_quorum": 6, "unreachable": 7,
		"bad_signature": 8, "refused": 9, "threshold": 10, "partly": 11, "locked": 12, "interrupted": 130,
	}, got)
}

func TestErrorsHaveCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		exit int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{fmt.Errorf("%w: dir", config.ErrConfig), 2},
		{fmt.Errorf("x: %w", node.ErrNotJoined), 2},
		{fmt.Errorf("x: %w", node.ErrPortTaken), 2},
		{context.DeadlineExceeded, 5},
		{fmt.Errorf("%w: %w", node.ErrNoQuorum, context.DeadlineExceeded), 6},
		{fmt.Errorf("x: %w", envelope.ErrUnsigned), 8},
		{fmt.Errorf("%w: x.star", bundle.ErrNotBundle), 2},
		{fmt.Errorf("import: %w", &bundle.DamagedError{Path: "x.star", Part: "index", Err: manifest.ErrInvalid}), 8},
		{fmt.Errorf("%w: used up", node.ErrRefused), 9},
		{fmt.Errorf("%w (dir)", node.ErrLocked), 12},
		{context.Canceled, 130},
		{fmt.Errorf("wrapped: %w", &api.Problem{Code: api.Waiting}), 4},
		{&api.Problem{Code: "of the future"}, 1},
	} {
		require.Equal(t, c.exit, api.ExitCode(c.err), "%v", c.err)
	}
}
