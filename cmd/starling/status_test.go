package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
)

// How the feature level stands is a warning while somebody can do something about it, a
// line while it comes by itself, and nothing when it is the newest.
func TestWhatStatusSaysOfTheLevel(t *testing.T) {
	const line = "level    level 2 comes when rollout 3 has ended\n"
	for _, tt := range []struct {
		name  string
		level *node.LevelView
		line  bool
	}{
		{"newest", nil, false},
		{"it comes by itself", &node.LevelView{Next: 2, Text: "level 2 comes when rollout 3 has ended"}, true},
		{"it waits for somebody", &node.LevelView{Next: 2, WaitsFor: []node.LevelWait{{ID: "r03", Reads: 1}}, Text: "level 2 comes when rollout 3 has ended"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			(&cli{out: &out}).sayStatus(&node.Status{Joined: true, Swarm: "orchard-3", FeatureLevel: tt.level})
			require.Contains(t, out.String(), "orchard-3")
			require.Equal(t, tt.line, bytes.Contains(out.Bytes(), []byte(line)), out.String())
		})
	}
}
