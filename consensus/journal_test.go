package consensus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

func openTestDisk(t testing.TB, dir string) *disk {
	d, err := openDisk(dir, quietLog(), func(error) {})
	require.NoError(t, err)
	d.applied, d.restored = func() uint64 { return 0 }, func() uint64 { return 0 }
	return d
}

func entries(from, to uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: i / 3, Type: raft.LogCommand, Data: []byte{byte(i), 1, 2}})
	}
	return out
}

// span returns the first and last index, after checking every entry between.
func span(t *testing.T, d *disk) (uint64, uint64) {
	first, err := d.FirstIndex()
	require.NoError(t, err)
	last, err := d.LastIndex()
	require.NoError(t, err)
	for i := first; i != 0 && i <= last; i++ {
		var l raft.Log
		require.NoError(t, d.GetLog(i, &l))
		require.Equal(t, *entries(i, i)[0], l)
	}
	var l raft.Log
	require.ErrorIs(t, d.GetLog(last+1, &l), raft.ErrLogNotFound)
	if first > 0 {
		require.ErrorIs(t, d.GetLog(first-1, &l), raft.ErrLogNotFound)
	}
	return first, last
}

func TestJournalSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	var d *disk
	for _, step := range []struct {
		name        string
		do          func() error
		first, last uint64
	}{
		{"empty", func() error { return nil }, 0, 0},
		{"three entries", func() error { return d.StoreLogs(entries(1, 3)) }, 1, 3},
		{"more", func() error { return d.StoreLogs(entries(4, 20)) }, 1, 20},
		{"a tail cut", func() error { return d.DeleteRange(15, 20) }, 1, 14},
		{"others instead", func() error { return d.StoreLogs(entries(15, 30)) }, 1, 30},
		{"a head cut", func() error { return d.DeleteRange(1, 9) }, 10, 30},
		{"a head cut again", func() error { return d.DeleteRange(1, 12) }, 13, 30},
		{"nothing to cut", func() error { return d.DeleteRange(1, 5) }, 13, 30},
		{"everything cut", func() error { return d.DeleteRange(13, 30) }, 0, 0},
		{"far ahead, after a snapshot", func() error { return d.StoreLogs(entries(500, 510)) }, 500, 510},
	} {
		d = openTestDisk(t, dir)
		require.NoError(t, step.do(), step.name)
		for range 2 { // at once, and after reopening
			first, last := span(t, d)
			require.Equal(t, [2]uint64{step.first, step.last}, [2]uint64{first, last}, step.name)
			require.NoError(t, d.Close())
			d = openTestDisk(t, dir)
		}
		require.NoError(t, d.Close())
	}
	d = openTestDisk(t, dir)
	require.Error(t, d.StoreLogs(entries(600, 600)), "a gap")
	require.Error(t, d.DeleteRange(503, 505), "the middle")
	require.NoError(t, d.Close())
	require.Error(t, d.StoreLogs(entries(511, 511)), "closed")
}

func TestJournalKeepsTermAndVote(t *testing.T) {
	dir := t.TempDir()
	d := openTestDisk(t, dir)
	_, err := d.GetUint64([]byte("CurrentTerm"))
	require.EqualError(t, err, "not found")
	for term := range uint64(40_000) / 100 {
		require.NoError(t, d.SetUint64([]byte("CurrentTerm"), term))
	}
	require.NoError(t, d.Set([]byte("LastVoteCand"), []byte("robot-3")))
	require.NoError(t, d.StoreLogs(entries(1, 9)))
	require.NoError(t, d.DeleteRange(1, 4)) // writes the file anew
	require.NoError(t, d.Close())
	d = openTestDisk(t, dir)
	term, err := d.GetUint64([]byte("CurrentTerm"))
	require.NoError(t, err)
	require.EqualValues(t, 399, term)
	cand, err := d.Get([]byte("LastVoteCand"))
	require.NoError(t, err)
	require.Equal(t, "robot-3", string(cand))
	_, err = d.GetUint64([]byte("LastVoteCand"))
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, d.Close())
}

// A power failure may leave any prefix of what was being written.
func TestJournalDropsATornEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	d := openTestDisk(t, dir)
	require.NoError(t, d.StoreLogs(entries(1, 5)))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, d.StoreLogs(entries(6, 6)))
	require.NoError(t, d.Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := len(before); n < len(after); n++ {
		require.NoError(t, os.WriteFile(path, after[:n], 0o600))
		d = openTestDisk(t, dir)
		_, last := span(t, d)
		require.EqualValues(t, 5, last, "cut at %d", n)
		require.NoError(t, d.StoreLogs(entries(6, 7)))
		require.NoError(t, d.Close())
		d = openTestDisk(t, dir)
		_, last = span(t, d)
		require.EqualValues(t, 7, last)
		require.NoError(t, d.Close())
	}
	require.NoError(t, os.WriteFile(path, append(before, make([]byte, 100)...), 0o600))
	d = openTestDisk(t, dir)
	_, last := span(t, d)
	require.EqualValues(t, 5, last, "the file grew before its bytes arrived")
	require.NoError(t, d.Close())
}

func TestJournalNoticesDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logFile)
	d := openTestDisk(t, dir)
	for i := uint64(1); i < 6; i++ {
		require.NoError(t, d.StoreLogs(entries(i, i)))
	}
	require.NoError(t, d.Close())
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	lastRecord := len(appendEntry(nil, entries(5, 5)[0]))
	for i := range len(good) - lastRecord {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x40
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		d, err := openDisk(dir, quietLog(), nil)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			continue
		}
		// A length that now reaches behind the end looks like a torn record.
		_, last := span(t, d)
		require.Less(t, last, uint64(5), "byte %d", i)
		require.NoError(t, d.Close())
	}
}

func FuzzJournal(f *testing.F) {
	b := []byte(journalMagic)
	b = appendStable(b, "CurrentTerm", make([]byte, 8))
	for _, l := range entries(1, 3) {
		b = appendEntry(b, l)
	}
	f.Add(b)
	f.Add(appendRecord(b, []byte{recordCut, 0, 0, 0, 0, 0, 0, 0, 2}))
	f.Add(append(b, 0, 0, 0, 9))
	f.Fuzz(func(t *testing.T, data []byte) {
		j := &journal{stable: map[string][]byte{}}
		if j.replay(data) != nil {
			return
		}
		require.LessOrEqual(t, j.size, int64(len(data)))
		for i := range j.entries {
			require.Equal(t, j.first+uint64(i), j.entries[i].Index)
		}
	})
}
