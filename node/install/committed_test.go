package install

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/update"
)

// A robot that has lost its records starts the committed slot without being told
// how, and one whose note of it is damaged says that it cannot.
func TestACommittedSlotRunsWithoutARecord(t *testing.T) {
	r := robot{t, t.TempDir()}
	d := r.driver()
	p := r.write(update.B, `echo "$STARLING_VERSION $1" > "$STARLING_DATA/said"`+"\n"+ready)
	require.NoError(t, d.Activate(bounded(t), p, false))
	r.up()
	require.NoError(t, d.Commit(bounded(t), p))
	require.NoError(t, d.Stop(bounded(t)))

	lost := Payload{Slot: update.B}
	d = r.driver()
	require.NoError(t, d.Commit(bounded(t), lost), "a lost record must not erase the note")
	require.NoError(t, d.Start(bounded(t), lost))
	r.up()
	said, err := os.ReadFile(d.cfg.Data + "/said")
	require.NoError(t, err)
	require.Equal(t, "1.2.3 arg\n", string(said))
	require.NoError(t, d.Stop(bounded(t)))

	require.NoError(t, os.WriteFile(d.committedPath(update.B), []byte(`{"run":["ru`), 0o600))
	require.ErrorIs(t, d.Start(bounded(t), lost), ErrNoCommand)
	require.ErrorIs(t, d.Start(bounded(t), Payload{Slot: update.A}), ErrNoCommand)
}
