package recordfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/update"
)

func record(reason string) update.Record {
	r := update.Baseline("app", update.A, update.SlotRecord{Manifest: manifest.Sum([]byte("image"))})
	r.Reason = reason
	return r
}

func TestSaveLoad(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "app.rec"), "app")
	rec, err := f.Load()
	require.NoError(t, err)
	require.Equal(t, update.NewRecord("app"), rec, "nothing there is a fresh robot")
	for _, reason := range []string{"one", "two", "three"} {
		require.NoError(t, f.Save(record(reason)))
		rec, err = f.Load()
		require.NoError(t, err)
		want := record(reason)
		require.Equal(t, want.Encode(), rec.Encode())
	}
	bad := record("")
	bad.Phase = update.Phase(member.Phases)
	require.ErrorIs(t, f.Save(bad), update.ErrInvalid)
	rec, err = f.Load()
	require.NoError(t, err)
	require.Equal(t, "three", rec.Reason)
}

// TestDamage tears and flips the newest copy at every byte: the previous one is
// read. With both damaged nothing is guessed.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.rec")
	f := New(path, "app")
	require.NoError(t, f.Save(record("old")))
	require.NoError(t, f.Save(record("new")))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for i := range whole {
		torn := whole[:i]
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 0x40
		for _, bytes := range [][]byte{torn, flipped} {
			require.NoError(t, os.WriteFile(path, bytes, 0o600))
			rec, err := f.Load()
			require.ErrorContains(t, err, "using the previous copy")
			require.NotErrorIs(t, err, ErrLost)
			require.Equal(t, "old", rec.Reason, "at byte %d", i)
		}
	}
	// A damaged newest copy does not push out the readable previous one.
	require.NoError(t, f.Save(record("newer")))
	require.NoError(t, os.WriteFile(path, []byte("rubbish"), 0o600))
	rec, err := f.Load()
	require.Error(t, err)
	require.Equal(t, "old", rec.Reason)

	require.NoError(t, os.WriteFile(path+".prev", nil, 0o600))
	rec, err = f.Load()
	require.ErrorIs(t, err, ErrLost)
	require.Equal(t, update.NewRecord("app"), rec)
}

// TestCuts leaves the files as a cut between the steps of Save does.
func TestCuts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.rec")
	f := New(path, "app")
	require.NoError(t, f.Save(record("old")))
	require.NoError(t, os.WriteFile(path+".tmp", []byte("half a rec"), 0o600))
	rec, err := f.Load()
	require.NoError(t, err)
	require.Equal(t, "old", rec.Reason, "C5: the temporary file is not looked at")

	require.NoError(t, os.Rename(path, path+".prev"))
	rec, err = f.Load()
	require.NoError(t, err)
	require.Equal(t, "old", rec.Reason, "between the two renames")

	require.NoError(t, f.Save(record("new")))
	rec, err = f.Load()
	require.NoError(t, err)
	require.Equal(t, "new", rec.Reason)

	// Another component's record is not ours.
	_, err = New(path, "nav").Load()
	require.ErrorIs(t, err, ErrLost)
}

func TestNoSpace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.rec")
	f := New(path, "app")
	require.NoError(t, f.Save(record("old")))
	require.NoError(t, os.Mkdir(path+".tmp", 0o755)) // the temporary file cannot be written
	require.Error(t, f.Save(record("new")))
	rec, err := f.Load()
	require.NoError(t, err)
	require.Equal(t, "old", rec.Reason)
}
