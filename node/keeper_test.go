package node

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/join"
)

// openTestKeeper founds a swarm in a directory and opens what is known there.
func openTestKeeper(t *testing.T) (*keeper, ed25519.PrivateKey, func() *keeper) {
	return openTestKeeperAt(t, t.TempDir())
}

func openTestKeeperAt(t *testing.T, path string) (*keeper, ed25519.PrivateKey, func() *keeper) {
	owner, operator := newKey(t), newKey(t)
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(owner)}, 1, []envelope.Key{envelope.KeyOf(operator)},
		trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{operator}}, time.Now())
	require.NoError(t, err)
	require.NoError(t, Found(path, "orchard-3", "op", b, operator))
	open := func() *keeper {
		m, err := dir(path).membership()
		require.NoError(t, err)
		key, err := dir(path).key()
		require.NoError(t, err)
		k, err := openKeeper(dir(path), m, envelope.KeyOf(key), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return k
	}
	return open(), operator, open
}

// rotated is the roster after k's, with a new gossip key.
func rotated(k *keeper, operator ed25519.PrivateKey, key []byte) []byte {
	next := *k.View().Roster
	next.Epoch, next.Previous = next.Epoch+1, k.View().RosterRef.Digest
	next.GossipKey, next.GossipProof = next.GossipKey+1, manifest.Sum(key)
	return envelope.New(envelope.Roster, member.RosterFormat, envelope.SwarmScope(next.Swarm), &next).Sign(operator).Encode()
}

// A gossip key counts only as far as the roster vouches for it: what a member adds
// to its answer is not believed, and not written down.
func TestGossipKeysAreBelievedOnlyWithProof(t *testing.T) {
	k, operator, reopen := openTestKeeper(t)
	old := k.View().keys[0]
	fresh := bytes.Repeat([]byte{7}, gossip.KeyBytes)
	roster := rotated(k, operator, fresh)

	require.NoError(t, k.take(&join.MetaReply{Roster: roster, GossipKeys: [][]byte{bytes.Repeat([]byte{8}, gossip.KeyBytes)}, GossipKey: 2}, true))
	require.Equal(t, [][]byte{old}, k.now.keys, "a key that the roster does not name")
	require.NoError(t, k.take(&join.MetaReply{GossipKeys: [][]byte{fresh, {0}, {1}}, GossipKey: 2}, true))
	require.Equal(t, [][]byte{fresh, old}, k.now.keys, "the proven one, and the one before")

	again := reopen()
	require.Equal(t, [][]byte{fresh, old}, again.View().keys)
	require.Equal(t, uint32(2), again.View().keyN)
}

// A key that was written down before the roster that names it is set aside after
// power was lost in between.
func TestGossipKeyWithoutItsRosterIsSetAside(t *testing.T) {
	k, _, reopen := openTestKeeper(t)
	m, err := k.dir.membership()
	require.NoError(t, err)
	old := m.GossipKeys[0]
	m.GossipKeys, m.GossipKey = [][]byte{bytes.Repeat([]byte{7}, gossip.KeyBytes), old}, 2
	require.NoError(t, save(k.dir.path("membership"), m))
	again := reopen()
	require.Equal(t, [][]byte{old}, again.View().keys)
	require.Equal(t, uint32(1), again.View().keyN)
}

// An alarm outlives a restart, and a file that cannot be read holds still too.
func TestAlarmOutlivesARestart(t *testing.T) {
	k, _, reopen := openTestKeeper(t)
	require.Empty(t, k.View().Alarm)
	require.NoError(t, save(k.dir.path("alarm"), alarm{Generation: 1, Text: "two orders for g1/7"}))
	require.Equal(t, "two orders for g1/7", reopen().View().Alarm)
	require.NoError(t, clearFile(k.dir.path("alarm")))
	require.NoError(t, writeNew(k.dir.path("alarm"), []byte("{")))
	require.NotEmpty(t, reopen().View().Alarm)
}
