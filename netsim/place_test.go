package netsim

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/netsim/scenario"
)

func TestTracksFromATraceFile(t *testing.T) {
	s := parse(t, `
name: traced
about: A test.
fleet: [{name: cart, count: 2, mobility: {trace: field.csv}}]
releases: [{version: "1.0"}]
`)
	files := fstest.MapFS{"field.csv": {Data: []byte("t,id,x,y\n0,cart-1,0,0\n10,cart-1,20,0\n0,cart-2,5,5\n")}}
	v, err := newMoves(s, files)
	require.NoError(t, err)
	require.Equal(t, scenario.Point{X: 10}, v.tracks["cart-1"].At(5*time.Second))
	require.True(t, v.tracks["cart-2"].Still())

	_, err = newMoves(s, nil)
	require.ErrorContains(t, err, "no files were given")
	_, err = newMoves(s, fstest.MapFS{})
	require.ErrorContains(t, err, "field.csv")
	_, err = newMoves(s, fstest.MapFS{"field.csv": {Data: []byte("0,cart-1,0,0\n")}})
	require.ErrorContains(t, err, "cart-2")
}
