package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node"
)

func TestWhatARolloutCosts(t *testing.T) {
	seen := []node.LinkRate{{Member: "r01", Up: 100_000}, {Member: "r02", Up: 300_000, Down: 50_000}, {Member: "r03", Down: 200_000}, {Member: "r04"}}
	for name, tt := range map[string]struct {
		lacks []int64
		t     node.Transfer
		want  cost
		by    rollout.Transfer
	}{
		"nothing": {[]int64{0, 0}, node.Transfer{Profile: "lan"}, cost{Rate: 2_500_000}, rollout.Transfer{}},
		"a shared radio: each byte for each robot": {[]int64{1e6, 1e6, 0, 1e6}, node.Transfer{Profile: "mesh"},
			cost{Robots: 3, Most: 1e6, Total: 3e6, Rate: 125_000, Shared: true, Seconds: 27, StickSeconds: 360}, rollout.Transfer{}},
		"links of their own: robots pass it on": {[]int64{1e8, 1e8, 1e8, 1e8}, node.Transfer{Profile: "lan"},
			cost{Robots: 4, Most: 1e8, Total: 4e8, Rate: 2_500_000, Seconds: 45, StickSeconds: 505}, rollout.Transfer{}},
		"measured: the middle of what the links gave": {[]int64{2e7}, node.Transfer{Profile: "mesh", Measured: seen},
			cost{Robots: 1, Most: 2e7, Total: 2e7, Rate: 200_000, Links: 3, Shared: true, Seconds: 111, StickSeconds: 122}, rollout.Transfer{}},
		"never more than may be sent": {[]int64{1e6}, node.Transfer{Profile: "lan", MaxUp: 10_000, Measured: seen},
			cost{Robots: 1, Most: 1e6, Total: 1e6, Rate: 10_000, Links: 3, Seconds: 111, StickSeconds: 120}, rollout.Transfer{}},
		"a profile that nobody knows": {lacks: []int64{0}, want: cost{Rate: 2_500_000}},
		"the plan's limit: one robot takes in no more": {[]int64{1e6, 1e6}, node.Transfer{Profile: "lan"},
			cost{Robots: 2, Most: 1e6, Total: 2e6, Rate: 2_500_000, Limit: 10_000, Seconds: 111, StickSeconds: 240}, rollout.Transfer{DownBytesPerSec: 10_000}},
		"the plan's limit: all together send no more": {[]int64{1e6, 1e6, 1e6}, node.Transfer{Profile: "lan"},
			cost{Robots: 3, Most: 1e6, Total: 3e6, Rate: 2_500_000, Limit: 10_000, Seconds: 111, StickSeconds: 360}, rollout.Transfer{UpBytesPerSec: 10_000}},
		"a shared radio that the plan leaves idle": {[]int64{1e6, 1e6, 1e6}, node.Transfer{Profile: "mesh"},
			cost{Robots: 3, Most: 1e6, Total: 3e6, Rate: 125_000, Limit: 10_000, Shared: true, Seconds: 111, StickSeconds: 360}, rollout.Transfer{UpBytesPerSec: 10_000, DownBytesPerSec: 20_000}},
		"a shared radio with room in the plan": {[]int64{1e6, 1e6, 1e6}, node.Transfer{Profile: "mesh"},
			cost{Robots: 3, Most: 1e6, Total: 3e6, Rate: 125_000, Limit: 100_000, Shared: true, Seconds: 27, StickSeconds: 360}, rollout.Transfer{UpBytesPerSec: 100_000}},
		"the limit of a rollout that is over by then": {[]int64{1e6}, node.Transfer{Profile: "lan", MaxUp: 10_000, Plan: &node.PlanTransfer{MaxUp: 10_000}},
			cost{Robots: 1, Most: 1e6, Total: 1e6, Rate: 2_500_000, Seconds: 1, StickSeconds: 120}, rollout.Transfer{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.want, price(tt.lacks, &tt.t, tt.by)) })
	}
}

func TestWhatIsSaidOfTheCost(t *testing.T) {
	var out bytes.Buffer
	c := &cli{out: &out}
	c.sayCost(&cost{}, "x.star")
	require.Equal(t, "nothing is to be sent: the robots have it\n", out.String())
	out.Reset()
	c.sayCost(&cost{Robots: 40, Most: 50 << 20, Total: 2000 << 20, Rate: 25_000, Shared: true, Seconds: 92_400, StickSeconds: 4_900, Whole: true}, "nav-2.0.star")
	require.Equal(t, `to send: 2.0 GiB, before it is compressed and packed: 40 robots lack up to 50.0 MiB each (what they run is not known here, so all of it counts)
about 25h40m of airtime on one shared radio at 24.4 KiB/s (assumed: nothing is measured from here yet)
! a USB stick is faster: about 1h21m40s for a person who goes to 40 robots with nav-2.0.star
→ on each robot: starling release import nav-2.0.star; then it copies from there what it would fetch
`, out.String())
	out.Reset()
	c.sayCost(&cost{Robots: 3, Most: 1 << 20, Total: 3 << 20, Rate: 1 << 20, Links: 2, Seconds: 2, StickSeconds: 400}, "x.star")
	require.Equal(t, `to send: 3.0 MiB, before it is compressed and packed: 3 robots lack up to 1.0 MiB each
about 2s from robot to robot at 1.0 MiB/s a link (measured from here, 2 links)
`, out.String())
	out.Reset()
	c.sayCost(&cost{Robots: 3, Most: 1 << 20, Total: 3 << 20, Rate: 1 << 20, Limit: 200 << 10, Links: 2, Seconds: 6, StickSeconds: 400}, "x.star")
	require.Contains(t, out.String(), "about 6s from robot to robot at 1.0 MiB/s a link, of which the plan lets a machine use 200.0 KiB/s (measured from here, 2 links)\n")
}
