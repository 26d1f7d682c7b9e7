package consensus

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

// mole speaks raft with any key, as no replica would.
type mole struct {
	*raft.NetworkTransport
	s     *swarm
	key   envelope.Key
	voter order.Voter
}

// moleLayer dials with the mole's key and says the right hello.
type moleLayer struct {
	*port
	hello func(server string) []byte
}

func (l moleLayer) Accept() (net.Conn, error) { <-l.done; return nil, net.ErrClosed }
func (l moleLayer) Addr() net.Addr            { return seatAddr("mole") }
func (l moleLayer) Dial(to raft.ServerAddress, d time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	key, server, err := parseAddress(to)
	if err != nil {
		return nil, err
	}
	c, err := l.port.Dial(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, err := c.Write(l.hello(server)); err != nil {
		return nil, err
	}
	return c, nil
}

// mole takes the key of member i; its replica must not run.
func (s *swarm) mole(i int) *mole {
	v := voter(i)
	hello := (&layer{genesis: s.genesis.Seal().Digest()}).hello
	p := s.hub.port(v.Key)
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: moleLayer{p, hello}, MaxRPCsInFlight: 1, Timeout: 5 * testH, Logger: newBridge(quietLog())})
	m := &mole{NetworkTransport: t, s: s, key: v.Key, voter: v}
	s.t.Cleanup(func() {
		m.Close()
		m.CloseStreams()
		s.hub.cut(v.Key, true)
	})
	return m
}

func (m *mole) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(m.voter.Server), Addr: []byte(address(m.voter))}
}

// append plays the leader towards seat i: term is that of the message and of its
// entries, after what the victim holds.
func (m *mole) append(i int, term, entryTerm uint64, entries ...*raft.Log) error {
	e := m.s.seats[i].r.engine.Load()
	last, lastTerm := e.raft.LastIndex(), uint64(0)
	var l raft.Log
	require.NoError(m.s.t, e.disk.GetLog(last, &l))
	lastTerm = l.Term
	for k, x := range entries {
		x.Index, x.Term = last+1+uint64(k), entryTerm
	}
	var resp raft.AppendEntriesResponse
	req := &raft.AppendEntriesRequest{
		RPCHeader: m.header(), Term: term, PrevLogEntry: last, PrevLogTerm: lastTerm, Entries: entries, LeaderCommitIndex: last + uint64(len(entries)),
	}
	return m.AppendEntries("victim", address(m.s.seats[i].voter), req, &resp)
}

func command(d *rollout.Decision) *raft.Log {
	return &raft.Log{Type: raft.LogCommand, Data: d.Encode()}
}

func TestStrangerChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		before := s.seats[0].r.State().Digest()
		m := s.mole(9)
		require.Error(t, m.append(0, 50, 50, command(checkpoint())))
		require.Error(t, m.RequestVote("victim", address(voter(0)), &raft.RequestVoteRequest{RPCHeader: m.header(), Term: 99, LeadershipTransfer: true}, &raft.RequestVoteResponse{}))
		require.Less(t, s.seats[0].r.Term(), uint64(50))
		require.Equal(t, before, s.seats[0].r.State().Digest())

		st := s.seats[0].r.State().Statement()
		st.Index += 5
		sig := SignedStatement{Statement: st, Signature: st.Sign(key(9))}
		require.ErrorIs(t, s.seats[0].r.AddSignature(voter(9).Key, sig), ErrStranger)
		require.ErrorIs(t, s.seats[0].r.AddSignature(voter(1).Key, sig), ErrStranger, "a stranger's signature from a voter")
		sig.Signature.Key = voter(1).Key
		require.ErrorIs(t, s.seats[0].r.AddSignature(voter(1).Key, sig), order.ErrUncertified)
		sig.Statement.Generation = 2
		require.ErrorIs(t, s.seats[0].r.AddSignature(voter(1).Key, sig), order.ErrInvalid)
	})
}

// What a captured voter can say to make raft panic, or to end all elections.
func TestGuardRefusesWhatRaftChokesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		for i := range 3 {
			s.start(i)
		}
		s.certified(s.propose(checkpoint()))
		m := s.mole(3)
		term := s.seats[0].r.Term()
		stranger := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "robot-9", Address: address(voter(9))}}}
		for name, entry := range map[string]*raft.Log{
			"configuration that is none":       {Type: raft.LogConfiguration, Data: []byte{0xc1, 0xff}},
			"configuration of strangers":       {Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(stranger)},
			"empty configuration":              {Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{})},
			"unknown type":                     {Type: 77},
			"deprecated configuration":         {Type: raft.LogAddPeerDeprecated, Data: []byte{0xc1}},
			"decision above any limit":         {Type: raft.LogCommand, Data: make([]byte, rollout.MaxDecisionBytes+1)},
			"extension that nobody asked for":  {Type: raft.LogCommand, Extensions: []byte{1}},
			"configuration above any sane one": {Type: raft.LogConfiguration, Data: make([]byte, 8<<10)},
		} {
			require.Error(t, m.append(0, term+1, term+1, entry), name)
		}
		require.Error(t, m.append(0, math.MaxUint64, 1, command(checkpoint())))
		require.Error(t, m.RequestVote("victim", address(voter(0)), &raft.RequestVoteRequest{RPCHeader: m.header(), Term: math.MaxUint64 - 1, LeadershipTransfer: true}, &raft.RequestVoteResponse{}))
		s.certified(s.propose(checkpoint()))
	})
}

// A captured leader puts garbage, an early advance and evidence of its own making
// into the log, and claims that all of it went through.
func TestCapturedLeaderGetsNoCertificate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		first := s.propose(checkpoint())
		s.certified(first)
		l := s.leader()
		r := s.seats[l].r
		e := r.engine.Load()
		forged := envelope.New(envelope.Health, 1, envelope.SwarmScope("test"), map[uint]uint{0: 1}).Sign(key(l))
		for _, data := range [][]byte{
			nil, []byte("garbage"), bytes.Repeat([]byte{0xff}, 1000),
			(&rollout.Decision{Format: 1, Kind: rollout.KindAdvance, Time: 1_700_000_009}).Encode(),
			(&rollout.Decision{Format: 1, Kind: rollout.KindObserve, Time: 1_700_000_009, Observe: [][]byte{forged.Encode()}}).Encode(),
			(&rollout.Decision{Format: 99, Kind: rollout.KindCheckpoint}).Encode(),
		} {
			f := e.raft.Apply(data, testH)
			require.NoError(t, f.Error())
			require.Error(t, f.Response().(error))
		}
		// It alters its own state and signs that.
		lie := r.State().Clone()
		lie.Halt = 77
		r.state.Store(lie)
		require.NoError(t, r.Propose(t.Context(), checkpoint()))
		at := r.State().OrderIndex
		s.until("the other three certify the truth", func() bool {
			for i := range 4 {
				if i != l && s.seats[i].r.Certified().Order.Index < at {
					return false
				}
			}
			return true
		})
		for i := range 4 {
			require.Zero(t, s.seats[i].r.Certified().Order.Halt)
		}
		st := lie.Statement()
		alone := order.Proven{Order: lie.Order(), Certificate: order.NewCertificate(st, []envelope.Signature{st.Sign(key(l)), st.Sign(key(9))})}
		require.Error(t, s.seats[(l+1)%4].r.AddCertified(alone))
		require.ErrorIs(t, s.ends(l), ErrDiverged, "its own log is not the swarm's any more")
	})
}

// A leader that stamps a time which nobody signs stops certificates only until an
// honest one says the time.
func TestWrongTimeHeals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		for i := range 4 {
			s.checker[i] = func(_, next *rollout.State) error {
				if next.OrderTime > s.genesis.Order.Time+rollout.MaxAheadSeconds {
					return errors.New("ahead")
				}
				return nil
			}
		}
		s.certified(s.propose(checkpoint()))
		l := s.leader()
		d := checkpoint()
		d.Time = 7_258_118_400 // 2200
		require.NoError(t, s.force(l, d))
		require.Equal(t, d.Time, s.seats[l].r.State().Time)
		require.NoError(t, s.stop(l))
		s.certified(s.propose(checkpoint()))
	})
}

// A captured leader shows one follower another log. Raft puts the log right once an
// honest voter leads; the follower sees that it had applied what is gone, says so, and is
// right again after a new start.
func TestReplicaThatWasLiedToBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		for i := range 3 {
			s.start(i)
		}
		s.certified(s.propose(checkpoint()))
		victim := (s.leader() + 1) % 3
		m := s.mole(3)
		lie := checkpoint()
		lie.Time += 500
		term := s.seats[victim].r.Term()
		require.NoError(t, m.append(victim, term+1, term-1, command(lie)))
		s.until("the victim has applied the lie", func() bool { return s.seats[victim].r.State().Time == lie.Time })
		limit := time.After(300 * testH)
		var err error
		for err == nil {
			select {
			case err = <-s.seats[victim].done:
				s.seats[victim].done <- err
			case <-time.After(testH):
				if l := s.seats[s.leader()].r; l != s.seats[victim].r {
					_ = l.Propose(t.Context(), checkpoint()) // it may lose the lead on the way
				}
			case <-limit:
				t.Fatal("the victim never found out")
			}
		}
		require.ErrorIs(t, s.stop(victim), ErrDiverged)
		s.start(victim)
		s.certified(s.propose(checkpoint()))
		require.NotEqual(t, lie.Time, s.seats[victim].r.State().Time)
	})
}

func TestForgedSnapshotIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		for i := range 3 {
			s.start(i)
		}
		s.certified(s.propose(checkpoint()))
		m := s.mole(3)
		before := s.seats[0].r.State()
		install := func(snap snapshot, index uint64, c raft.Configuration) error {
			data := canonical.Encode(snap)
			var resp raft.InstallSnapshotResponse
			return m.InstallSnapshot("victim", address(voter(0)), &raft.InstallSnapshotRequest{
				RPCHeader: m.header(), SnapshotVersion: 1, Term: s.seats[0].r.Term() + 1, LastLogIndex: index, LastLogTerm: 2,
				Configuration: raft.EncodeConfiguration(c), Size: int64(len(data)),
			}, &resp, bytes.NewReader(data))
		}
		seats := configuration(s.genesis.Order.Electorate)

		lie := before.Clone()
		lie.Index, lie.OrderIndex, lie.Halt = 500, 500, 77
		st := lie.Statement()
		one := order.Proven{Order: lie.Order(), Certificate: order.NewCertificate(st, []envelope.Signature{st.Sign(key(3))})}
		uncertified := snapshot{Format: SnapshotFormat, Proof: newProof(nil, order.Proven{Order: lie.Order()}), State: lie.Encode()}
		require.Error(t, install(uncertified, 500, seats))
		require.Error(t, install(snapshot{Format: SnapshotFormat, Proof: newProof(nil, one), State: lie.Encode()}, 500, seats))

		// A genuine one for an index it was not certified for, or with other servers.
		good := s.seats[1].r
		genuine := snapshot{Format: SnapshotFormat, Proof: newProof(nil, good.Certified()), State: good.State().Encode()}
		require.Error(t, install(genuine, 1<<40, seats))
		stranger := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: "robot-9", Address: address(voter(9))}}}
		require.Error(t, install(genuine, good.State().Index, stranger))

		require.Zero(t, s.snapshots(0), "nothing is left to trip over at the next start")
		require.Equal(t, before.Digest(), s.seats[0].r.State().Digest())
		require.NoError(t, s.stop(0))
		s.start(0)
		s.certified(s.propose(checkpoint()))
	})
}

func TestEquivocationIsEvidence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		for i := range 3 {
			s.start(i)
		}
		s.certified(s.propose(checkpoint()))
		r := s.seats[0].r
		st := r.State().Statement()
		st.Index += 3
		for i := range 12 {
			st.Order = manifest.Sum([]byte{byte(i)})
			require.NoError(t, r.AddSignature(voter(3).Key, SignedStatement{Statement: st, Signature: st.Sign(key(3))}))
		}
		require.Len(t, r.Evidence(), 1, "once for each voter and index")
		ev := r.Evidence()[0]
		require.Equal(t, voter(3), ev.Voter)
		require.True(t, ev.A.Statement.Verify(ev.A.Signature) && ev.B.Statement.Verify(ev.B.Signature))
		require.NotEqual(t, ev.A.Statement, ev.B.Statement)
		for i := range 100 { // a flood stays within bounds and harms nobody
			st.Index = 1000 + uint64(i)
			require.NoError(t, r.AddSignature(voter(3).Key, SignedStatement{Statement: st, Signature: st.Sign(key(3))}))
		}
		r.mu.Lock()
		require.LessOrEqual(t, len(r.tally.pool[voter(3).Key]), maxPerVoter)
		r.mu.Unlock()
		s.certified(s.propose(checkpoint()))
	})
}

// Two hostile voters of four are more than the swarm bears: it notices and stops.
func TestForkStopsTheReplica(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4).found()
		s.certified(s.propose(checkpoint()))
		r := s.seats[0].r
		lie := r.State().Clone()
		lie.Halt = 77
		fork := order.Proven{Order: lie.Order(), Certificate: certificate(lie.Statement(), 4)}
		require.ErrorIs(t, r.AddCertified(fork), order.ErrFork)
		require.NotEmpty(t, r.Evidence(), "who signed both is known")
		require.ErrorIs(t, s.ends(0), order.ErrFork)
	})
}

// A connection for another seat of the same robot, or of another swarm, is closed.
func TestHelloNamesTheSeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSwarm(t, 4)
		for i := range 3 {
			s.start(i)
		}
		s.certified(s.propose(checkpoint()))
		m := s.mole(3)
		old := voter(0)
		old.Server = "robot-O" // as long, so that nothing else gives it away
		var resp raft.RequestVoteResponse
		require.Error(t, m.RequestVote("victim", address(old), &raft.RequestVoteRequest{RPCHeader: m.header(), Term: 3}, &resp))
		require.NoError(t, m.RequestVote("victim", address(voter(0)), &raft.RequestVoteRequest{RPCHeader: m.header(), Term: 1}, &resp))
	})
}
