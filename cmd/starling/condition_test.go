package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
)

func TestWhatStatusSaysOfTransfers(t *testing.T) {
	require.Empty(t, transferRows(&node.Transfer{Now: 1 << 20, MaxUp: 1 << 20}), "nothing out of the ordinary")
	require.Equal(t, [][]string{
		{"transfer", "fetches nothing now: not still"},
		{"transfer", "sends images at 20.0 KiB/s at most: this robot spares itself"},
		{"fault", "r07: protocol, 3 times since this node was started; at last: talks without end"},
	}, transferRows(&node.Transfer{
		Waits: "not still", Floored: true, Now: 20 << 10,
		Faults: []node.PeerFaults{{Member: "r07", Kind: "protocol", Count: 3, Text: "talks without end"}, {Member: "r08", Kind: "stalled", Count: 9}, {Member: "10.0.0.9", Kind: "flood", Count: 99}},
	}))
	require.Equal(t, [][]string{{"transfer", "the plan of rollout 3 narrows"}}, transferRows(&node.Transfer{MaxUp: 1 << 20, Plan: &node.PlanTransfer{MaxUp: 1 << 20, Text: "the plan of rollout 3 narrows"}}))
	require.Equal(t, [][]string{{"transfer", "sends images at 512.0 KiB/s at most: members answer each other late"}}, transferRows(&node.Transfer{Slowed: true, Now: 512 << 10}))
}
