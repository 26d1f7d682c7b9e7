package consensus

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// snapshots counts those on the disk of seat i.
func (s *swarm) snapshots(i int) int {
	entries, _ := os.ReadDir(filepath.Join(s.seats[i].dir, "snapshots"))
	return len(entries)
}

func TestSnapshotsAreTakenAtCertifiedIndexes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		s.every = 8
		s.found()
		s.certified(s.propose(checkpoint()))
		away := (s.leader() + 1) % 4
		require.NoError(t, s.stop(away))
		for range 30 {
			s.certified(s.propose(checkpoint()))
		}
		l := s.leader()
		s.until("the leader has cut its log", func() bool { return s.seats[l].r.cut.Load() > 8 && s.snapshots(l) > 0 })

		s.start(away) // too far behind for the log: InstallSnapshot
		s.certified(s.propose(checkpoint()))
		require.Positive(t, s.snapshots(away))
		require.Positive(t, s.seats[away].r.cut.Load())

		for i := range 4 { // and everybody starts from what is on the disk
			require.NoError(t, s.stop(i))
		}
		s.found()
		s.certified(s.propose(checkpoint()))
		for i := range 4 {
			require.Equal(t, s.seats[0].r.State().Digest(), s.seats[i].r.State().Digest())
		}
	})
}

// Decisions that do not hold move the index and leave the order alone: the leader
// asks for a checkpoint, so that the log does not grow for ever.
func TestLeaderAsksForACheckpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		s.every = 8
		s.found()
		first := s.propose(checkpoint())
		s.certified(first)
		l := s.leader()
		for range 12 {
			require.ErrorIs(t, s.seats[l].r.Propose(t.Context(), &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindAdvance}), ErrRefused)
		}
		s.until("the log is cut", func() bool { return s.seats[l].r.cut.Load() > 0 })
		require.Greater(t, s.seats[l].r.Certified().Order.Index, first)
	})
}

// certifiedSnapshot is a good one of a founding of n, and what it takes to forge.
func certifiedSnapshot(t testing.TB, n int) (*order.Genesis, *rollout.State, snapshot) {
	g := founding(n)
	s := rollout.NewState(g, g.Seal().Digest(), g.Seal().Digest())
	require.NoError(t, s.ApplyLog(3, checkpoint().Encode()))
	o := s.Order()
	return g, s, snapshot{Format: SnapshotFormat, Proof: newProof(nil, order.Proven{Order: o, Certificate: certificate(s.Statement(), n)}), State: s.Encode()}
}

// certificate of a statement by the first n voters.
func certificate(st order.Statement, n int) *order.Certificate {
	var sigs []envelope.Signature
	for i := range n {
		sigs = append(sigs, st.Sign(key(i)))
	}
	return order.NewCertificate(st, sigs)
}

func TestOpenSnapshot(t *testing.T) {
	g, state, good := certifiedSnapshot(t, 4)
	fresh := func() *order.Ledger { return order.NewLedger(g, g.Seal()) }
	got, l, err := openSnapshot(canonical.Encode(good), fresh)
	require.NoError(t, err)
	require.Equal(t, state.Digest(), got.Digest())
	require.EqualValues(t, 3, l.Newest().Order.Index)

	for name, forge := range map[string]func(s *snapshot){
		"no certificate": func(s *snapshot) { s.Proof.Newest = nil },
		"two of four signatures": func(s *snapshot) {
			s.Proof.Newest.Certificate = certificate(state.Statement(), 2).Encode()
		},
		"another state": func(s *snapshot) {
			other := state.Clone()
			other.Rollouts = 7
			s.State = other.Encode()
		},
		"a state further on": func(s *snapshot) {
			other := state.Clone()
			require.NoError(t, other.ApplyLog(4, checkpoint().Encode()))
			s.State = other.Encode()
		},
		"a state that is none": func(s *snapshot) { s.State = []byte{0xa0} },
		"strangers' certificate": func(s *snapshot) {
			st := state.Statement()
			s.Proof.Newest.Certificate = order.NewCertificate(st, []envelope.Signature{st.Sign(key(7)), st.Sign(key(8)), st.Sign(key(9))}).Encode()
		},
		"one voter three times": func(s *snapshot) {
			st := state.Statement()
			s.Proof.Newest.Certificate = order.NewCertificate(st, []envelope.Signature{st.Sign(key(0)), st.Sign(key(0)), st.Sign(key(0))}).Encode()
		},
		"electorate of the forger": func(s *snapshot) {
			o := *state.Order()
			o.Electorate = order.Electorate{Version: 2, Voters: []order.Voter{voter(9)}}
			st := order.Statement{Swarm: "test", Generation: 1, Index: 3, Order: o.Digest()}
			s.Proof.Chain = []link{{Order: o.Encode(), Certificate: order.NewCertificate(st, []envelope.Signature{st.Sign(key(9))}).Encode()}}
		},
		"another format": func(s *snapshot) { s.Format = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			_, _, s := certifiedSnapshot(t, 4)
			forge(&s)
			got, _, err := openSnapshot(canonical.Encode(s), fresh)
			require.ErrorIs(t, err, ErrForged)
			require.Nil(t, got)
		})
	}
}

func FuzzOpenSnapshot(f *testing.F) {
	g, _, good := certifiedSnapshot(f, 4)
	f.Add(canonical.Encode(good))
	f.Add([]byte{0xa3, 0x00, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, l, err := openSnapshot(data, func() *order.Ledger { return order.NewLedger(g, g.Seal()) })
		if err != nil {
			require.Nil(t, s)
			require.Nil(t, l)
			return
		}
		require.True(t, l.Newest().Certificate.By(&g.Order.Electorate))
		require.Equal(t, l.Newest().Certificate.Statement, s.Statement())
	})
}
