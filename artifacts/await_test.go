package artifacts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/schedule"
)

func TestATurnLastsUntilThePieceIsThere(t *testing.T) {
	var v server
	ended := map[uint32]int{}
	await := func(piece uint32) { v.await(piece, func() { ended[piece]++ }) }
	await(3)
	await(7)
	require.Empty(t, ended)
	v.took([]uint32{5, 7})
	require.Equal(t, map[uint32]int{7: 1}, ended)
	await(8)
	v.took([]uint32{7}) // told twice
	require.Equal(t, map[uint32]int{7: 1}, ended)
	v.giveBack()
	require.Equal(t, map[uint32]int{3: 1, 7: 1, 8: 1}, ended)
}

func TestWhoNeverSaysWhatItHasIsNotWaitedFor(t *testing.T) {
	var v server
	ended := 0
	for piece := range uint32(10) {
		v.await(piece, func() { ended++ })
	}
	require.Equal(t, 10-schedule.PerPeer, ended)
	v.took([]uint32{0})
	v.await(10, func() { t.Error("it has said so by now") })
}
