package consensus

import (
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/durable/durabletest"
)

// A voter whose disk is full goes on voting from the reserve: its log, what it signed
// and what was certified are written, and it need not give up its seat.
func TestAFullDiskKeepsAVoter(t *testing.T) {
	dir, fill := durabletest.Disk(t, "8m")
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 1)
		s.dir, s.every = dir, 8
		s.found()
		s.certified(s.propose(checkpoint()))
		r, err := durable.Keep(dir, 1<<20)
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, r.Refill())
		fill()
		var index uint64
		for range 40 {
			index = s.propose(checkpoint())
			s.certified(index)
		}
		require.Less(t, r.Left(), int64(1<<20), "the disk was full")
		require.NoError(t, s.stop(0))
		s.start(0)
		s.certified(index)
	})
}

// Each of a voter's files alone finds room.
func TestAFullDiskKeepsEachFile(t *testing.T) {
	dir, fill := durabletest.Disk(t, "8m")
	r, err := durable.Keep(dir, 1<<20)
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Refill())
	v, err := openVows(filepath.Join(dir, vowFile), vowGenesis)
	require.NoError(t, err)
	require.NoError(t, v.raise(0))
	j, err := openJournal(filepath.Join(dir, logFile))
	require.NoError(t, err)
	fill()
	left := r.Left()
	for i := range uint64(300) {
		require.NoError(t, v.keep(statement(i+1, "order")), i)
	}
	require.Less(t, r.Left(), left, "promises")
	require.NoError(t, v.close())
	fill()
	left = r.Left()
	for i := range uint64(100) {
		require.NoError(t, j.write(appendEntry(nil, &raft.Log{Index: i + 1, Term: 1, Data: make([]byte, 100)})))
	}
	require.Less(t, r.Left(), left, "the log")
	require.NoError(t, j.close())
	fill()
	left = r.Left()
	require.NoError(t, replace(filepath.Join(dir, proofFile), make([]byte, 5000)))
	require.Less(t, r.Left(), left, "certificates")
}
