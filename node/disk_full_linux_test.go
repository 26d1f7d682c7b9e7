package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/durable/durabletest"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/install/recordfile"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// On a full disk a robot writes down the newest order, a halt and how far it is with
// an update; documents that others have too do not get the space held for that.
func TestAFullDiskKeepsWhatMatters(t *testing.T) {
	dir, fill := durabletest.Disk(t, "8m")
	k, operator, reopen := openTestKeeperAt(t, dir)
	h := foundHouse(k, operator, 1, "start")
	take := func(index uint64) error {
		return k.take(&join.MetaReply{Order: proofs(h.certify(index, 3, nil))}, true)
	}
	require.NoError(t, k.take(&join.MetaReply{Genesis: h.sealed.Encode()}, true))
	require.NoError(t, take(1))
	record := recordfile.New(filepath.Join(dir, "record"), "app")

	fill()
	require.ErrorIs(t, take(2), syscall.ENOSPC, "nothing is held back for it")
	require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
	r, err := durable.Keep(dir, reserveBytes)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Refill())
	fill()

	_, err = k.docs.put(join.ManifestDocument, make([]byte, 20<<10))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, int64(reserveBytes), r.Left())
	for i := range 4 {
		fill()
		require.NoError(t, take(uint64(3+i)))
		fill()
		require.NoError(t, record.Save(update.Baseline("app", update.A, update.SlotRecord{})), i)
	}
	fill()
	token := halt.Token{Format: halt.Format, Swarm: "orchard-3", Counter: 4, Halted: true, Reason: "fire"}
	require.NoError(t, k.take(&join.MetaReply{Halt: token.Seal().Sign(operator).Encode()}, true))
	require.Greater(t, r.Left(), int64(0))
	require.Less(t, r.Left(), int64(reserveBytes))

	again := reopen()
	require.Equal(t, uint64(6), again.View().Pointer().Index)
	require.True(t, again.View().Halted)
	require.Equal(t, uint64(4), again.halt.Counter())
	rec, err := record.Load()
	require.NoError(t, err)
	require.True(t, rec.HasCommitted)
}

// A node fills its reserve where there is room, and says when it was used.
func TestTheReserveIsFilledWhereThereIsRoom(t *testing.T) {
	dir, _ := durabletest.Disk(t, "6m")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 3<<20), 0o600))
	n, err := New(loopback(filepath.Join(dir, "node")))
	require.ErrorIs(t, err, ErrNotJoined)
	require.Nil(t, n)
	require.NoFileExists(t, filepath.Join(dir, "node", "reserve"), "the reserve would take a third of what is free")

	m := &Node{cfg: loopback(filepath.Join(dir, "node")), log: slog.New(slog.DiscardHandler)}
	m.openReserve()
	defer m.reserve.Close()
	require.Zero(t, m.reserve.Left())
	codes := func() (out []string) {
		m.warnDisk(func(on bool, code, _, _ string, _ ...any) { out = append(out, code) })
		return out
	}
	require.Contains(t, codes(), "disk_full")
	require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
	m.fillReserve()
	require.Equal(t, int64(reserveBytes), m.reserve.Left())
	require.NotContains(t, codes(), "disk_full")
}
