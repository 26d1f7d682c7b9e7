package consensus

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

func TestNewReportsAllFaultsTogether(t *testing.T) {
	_, err := New(Config{Heartbeat: time.Millisecond, Genesis: founding(4)})
	for _, what := range []string{"Dir", "Key", "Server", "Streams", "Push", "Heartbeat", "GenesisDigest"} {
		require.ErrorContains(t, err, what)
	}
}

func TestDirectoryBelongsToOneProcessAndOneGenesis(t *testing.T) {
	s := newSwarm(t, 4)
	c := s.config(0)
	r, err := New(c)
	require.NoError(t, err)
	_, err = New(c)
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.Run(t.Context()), ErrStopped)
	require.ErrorIs(t, r.Propose(t.Context(), checkpoint()), ErrStopped)
	require.ErrorIs(t, r.HandOver(t.Context()), ErrStopped)
	require.Zero(t, r.Term())

	v, err := openVows(filepath.Join(c.Dir, vowFile), c.GenesisDigest)
	require.NoError(t, err)
	require.NoError(t, v.raise(0))
	require.NoError(t, v.close())
	other := founding(4)
	other.Order.Generation = 2
	c.Genesis, c.GenesisDigest = other, other.Seal().Digest()
	_, err = New(c)
	require.ErrorIs(t, err, ErrOther)
}

func TestUnreadableCertificatesAreNoLoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		require.NoError(t, s.stop(2))
		require.NoError(t, os.WriteFile(filepath.Join(s.seats[2].dir, proofFile), []byte("scribble"), 0o600))
		require.Nil(t, s.start(2).Certified().Certificate)
		s.certified(s.propose(checkpoint()))
	})
}

// A flipped byte in the log ends the replica with what to do next, not the process.
func TestDamagedLogIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		require.NoError(t, s.stop(2))
		path := filepath.Join(s.seats[2].dir, logFile)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(journalMagic)+9] ^= 1
		require.NoError(t, os.WriteFile(path, data, 0o600))
		s.start(2)
		require.ErrorIs(t, s.ends(2), ErrDamaged)
	})
}

// A disk that takes nothing any more ends the replica; the other three go on.
func TestBrokenDiskEndsRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		for _, i := range []int{s.leader(), (s.leader() + 1) % 4} {
			d := s.seats[i].r.engine.Load().disk
			d.writing.Lock()
			require.NoError(t, d.file.Close())
			d.writing.Unlock()
			s.t.Log("broken", i)
			ctx, cancel := context.WithTimeout(t.Context(), 50*testH)
			for s.seats[i].r.engine.Load() != nil && ctx.Err() == nil {
				l := s.seats[s.leader()].r
				_ = l.Propose(ctx, checkpoint()) // it may be the broken one
				select {
				case <-time.After(testH):
				case <-ctx.Done():
				}
			}
			cancel()
			require.ErrorIs(t, s.ends(i), ErrDamaged)
			require.ErrorIs(t, s.stop(i), ErrDamaged)
			require.NoError(t, os.RemoveAll(filepath.Join(s.seats[i].dir, "gone")))
			s.start(i) // space is back
			s.certified(s.propose(checkpoint()))
		}
	})
}

// Restarts at any moment never make a voter sign two orders for one index.
func TestRestartsNeverDoubleSign(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		s.every = 8
		s.found()
		rng := rand.New(rand.NewPCG(1, 2))
		for round := range 25 {
			i := rng.IntN(4)
			ctx, cancel := context.WithTimeout(t.Context(), testH)
			d := checkpoint()
			d.Time += int64(round)
			done := make(chan struct{})
			go func(l *Replica) {
				defer close(done)
				_ = l.Propose(ctx, d)
			}(s.seats[s.leader()].r)
			select {
			case <-time.After(time.Duration(rng.IntN(20)) * testH / 20):
			case <-done:
			}
			require.NoError(t, s.stop(i))
			s.start(i)
			<-done
			cancel()
		}
		s.certified(s.propose(checkpoint()))
		for i := range 4 {
			require.Empty(t, s.seats[i].r.Evidence())
		}
	})
}

// A voter that remembers another signature for an index does not sign there again,
// whatever its log says now.
func TestVowOutlivesTheLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		c := s.config(1)
		require.NoError(t, os.MkdirAll(c.Dir, 0o700))
		v, err := openVows(filepath.Join(c.Dir, vowFile), c.GenesisDigest)
		require.NoError(t, err)
		require.NoError(t, v.raise(0))
		require.NoError(t, v.keep(statement(3, "of a captured leader")))
		require.NoError(t, v.close())
		s.found()
		index := s.propose(checkpoint())
		require.EqualValues(t, 3, index)
		s.certified(index)
		for i := range 4 {
			for _, sig := range s.seats[i].r.Certified().Certificate.Signatures {
				require.NotEqual(t, voter(1).Key, sig.Key)
			}
		}
		s.certified(s.propose(checkpoint()))
	})
}

// A partition without a quorum certifies nothing; once it heals, everybody agrees.
func TestMinorityCertifiesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		index := s.propose(checkpoint())
		s.certified(index)
		l := s.leader()
		away := []int{l, (l + 1) % 4}
		for _, i := range away {
			s.hub.cut(voter(i).Key, true)
		}
		err := s.seats[l].r.Propose(t.Context(), checkpoint())
		require.True(t, errors.Is(err, ErrUnsure) || errors.As(err, &ErrNotLeader{}), "%v", err)
		limit := time.After(30 * testH)
		<-limit
		for i := range 4 {
			require.Equal(t, index, s.seats[i].r.Certified().Order.Index)
		}
		for _, i := range away {
			s.hub.cut(voter(i).Key, false)
		}
		s.certified(s.propose(checkpoint()))
		require.Equal(t, s.seats[0].r.State().Digest(), s.seats[3].r.State().Digest())
	})
}

// How long the swarm is without a leader, in virtual time.
func TestFailoverTime(t *testing.T) {
	var took []time.Duration
	runs := 25
	if testing.Short() {
		runs = 3
	}
	for range runs {
		bubble(t, func(t *testing.T) {
			s := newSwarm(t, 4)
			for i := range 4 {
				s.start(i)
			}
			s.certified(s.propose(checkpoint()))
			require.NoError(t, s.stop(s.leader()))
			died := time.Now()
			s.certified(s.propose(checkpoint()))
			took = append(took, time.Since(died))
		})
	}
	slices.Sort(took)
	t.Logf("leader gone to next certified order, H=%s, %d runs: median %s, worst %s", testH, runs, took[runs/2], took[runs-1])
	require.Less(t, took[runs-1], 5*testH)
}

// What four voters say to each other while nothing happens.
func TestIdleTraffic(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		s.hub.mu.Lock()
		before := s.hub.bytes
		s.hub.mu.Unlock()
		<-time.After(100 * testH)
		s.hub.mu.Lock()
		bits := 8 * (s.hub.bytes - before) / 100
		s.hub.mu.Unlock()
		t.Logf("idle: the leader sends and receives %d bits a heartbeat, each follower %d, before TCP and TLS", bits, bits/3)
		require.Less(t, bits, 80_000)
	})
}

func TestTallyStaysWithinBounds(t *testing.T) {
	g := founding(4)
	state := rollout.NewState(g, g.Seal().Digest(), manifest.Digest{})
	tl := newTally(order.NewLedger(g, g.Seal()), state)
	for i := uint64(1); i <= 3*maxCandidates; i++ {
		state = state.Clone()
		d := checkpoint()
		if i == 5 {
			four := voter(4)
			d = setVoters(0, &four)
			for v := range 4 {
				d.SetVoters.Endorse(state, key(v))
			}
		}
		require.NoError(t, state.ApplyLog(i, d.Encode()))
		ask, err := tl.apply(state, i)
		require.NoError(t, err)
		require.True(t, ask)
	}
	require.Len(t, tl.candidates, maxCandidates)
	require.EqualValues(t, 5, tl.candidates[0].order.Index, "a change of voters is not forgotten")
	require.True(t, tl.candidates[0].change)
	require.Len(t, tl.waiting(2), 3)

	// Nothing after it can be certified before it; then everything at once.
	newest := tl.candidates[maxCandidates-1].statement
	first := tl.candidates[0].statement
	for i := range 5 {
		_, err := tl.add(SignedStatement{Statement: newest, Signature: newest.Sign(key(i))})
		require.NoError(t, err)
	}
	require.NoError(t, tl.certify())
	require.Zero(t, tl.newest())
	for i := range 5 {
		_, err := tl.add(SignedStatement{Statement: first, Signature: first.Sign(key(i))})
		require.NoError(t, err)
	}
	require.NoError(t, tl.certify())
	require.Equal(t, newest.Index, tl.newest())
	require.Len(t, tl.ledger.Chain(), 1)
	require.Empty(t, tl.candidates)
	require.Equal(t, state.Index, tl.accepted.Index)
}
