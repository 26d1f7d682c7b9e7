package consensus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

func statement(index uint64, what string) order.Statement {
	return order.Statement{Swarm: "test", Generation: 1, Index: index, Order: manifest.Sum([]byte(what))}
}

var vowGenesis = manifest.Sum([]byte("genesis"))

// openTestVows opens the vows in dir; last is where the raft log ends.
func openTestVows(t *testing.T, dir string, last uint64) *vows {
	v, err := openVows(filepath.Join(dir, vowFile), vowGenesis)
	require.NoError(t, err)
	require.NoError(t, v.raise(last))
	t.Cleanup(func() { require.NoError(t, v.close()) })
	return v
}

func TestVowsAreKept(t *testing.T) {
	dir := t.TempDir()
	v := openTestVows(t, dir, 0)
	require.NoError(t, v.keep(statement(3, "a")))
	require.NoError(t, v.keep(statement(5, "b")))
	for range 2 {
		require.NoError(t, v.keep(statement(5, "b")), "the same again")
		require.NoError(t, v.keep(statement(3, "a")))
		require.ErrorIs(t, v.keep(statement(5, "other")), ErrVow)
		require.ErrorIs(t, v.keep(statement(4, "between")), ErrVow)
		require.NoError(t, v.close())
		v = openTestVows(t, dir, 100) // a whole file is not raised
	}
	require.NoError(t, v.keep(statement(6, "c")))
}

func TestVowsOfAnotherGenesis(t *testing.T) {
	dir := t.TempDir()
	openTestVows(t, dir, 0)
	_, err := openVows(filepath.Join(dir, vowFile), manifest.Sum([]byte("other")))
	require.ErrorIs(t, err, ErrOther)
}

// The record is on the disk and the robot dies before the signature goes out: it
// may be given after the restart, and no other one.
func TestVowThenCrash(t *testing.T) {
	dir := t.TempDir()
	v := openTestVows(t, dir, 0)
	require.NoError(t, v.keep(statement(9, "a")))
	again := openTestVows(t, dir, 9) // v was never closed
	require.NoError(t, again.keep(statement(9, "a")))
	require.ErrorIs(t, again.keep(statement(9, "b")), ErrVow)
}

func TestTornAndFlippedVows(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, vowFile)
	v := openTestVows(t, dir, 0)
	for i := uint64(1); i <= 4; i++ {
		require.NoError(t, v.keep(statement(i, "a")))
	}
	good, err := os.ReadFile(path)
	require.NoError(t, err)

	for n := len(good) - vowBytes + 1; n < len(good); n++ {
		require.NoError(t, os.WriteFile(path, good[:n], 0o600))
		v := openTestVows(t, dir, 4)
		require.NoError(t, v.keep(statement(3, "a")))
		require.NoError(t, v.keep(statement(4, "b")), "cut at %d: it was never synced, so never signed", n)
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		v, err := openVows(path, vowGenesis)
		require.NoError(t, err)
		require.ErrorIs(t, v.keep(statement(50, "a")), ErrVow, "damaged and not raised")
		require.NoError(t, v.raise(20))
		for index := uint64(1); index <= 20; index++ {
			require.ErrorIs(t, v.keep(statement(index, "b")), ErrVow, "byte %d index %d", i, index)
		}
		require.NoError(t, v.keep(statement(21, "b")))
		require.NoError(t, v.close())
		v = openTestVows(t, dir, 0)
		require.ErrorIs(t, v.keep(statement(20, "c")), ErrVow, "also after a restart")
		require.NoError(t, v.close())
	}
	require.NoError(t, os.Remove(path))
	v = openTestVows(t, dir, 30)
	require.ErrorIs(t, v.keep(statement(30, "b")), ErrVow, "a file that is gone")
	require.NoError(t, v.keep(statement(31, "b")))
}

func TestVowsStaySmall(t *testing.T) {
	dir := t.TempDir()
	v := openTestVows(t, dir, 0)
	for i := uint64(1); i <= maxVowRecords+10; i++ {
		v.kept = append(v.kept, vow{index: i, statement: manifest.Sum([]byte{1})})
		v.highest = i
	}
	require.NoError(t, v.keep(statement(9999, "a")))
	require.Len(t, v.kept, keptVows+1)
	info, err := os.Stat(filepath.Join(dir, vowFile))
	require.NoError(t, err)
	require.EqualValues(t, vowHeadBytes+(keptVows+1)*vowBytes, info.Size())
	require.ErrorIs(t, v.keep(statement(7, "a")), ErrVow)
}

func FuzzVows(f *testing.F) {
	head := seal(append([]byte(vowMagic), vowGenesis[:]...))
	f.Add(append(head, vow{index: 1}.encode()...))
	f.Add(head[:10])
	f.Fuzz(func(t *testing.T, data []byte) {
		v := &vows{genesis: vowGenesis}
		if v.parse(data) != nil {
			return
		}
		require.LessOrEqual(t, v.size, int64(len(data)))
		for i := 1; i < len(v.kept); i++ {
			require.Less(t, v.kept[i-1].index, v.kept[i].index)
		}
	})
}
