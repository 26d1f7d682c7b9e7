//go:build unix

package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/join"
)

// A port that another process has is named, with what to do, before anything else
// is opened.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	invite, err := join.New(join.Invite{
		Swarm: "orchard-3", Root: [32]byte{1}, Operator: [32]byte{2}, Addrs: []string{"127.0.0.1:1"}, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(t, err)
	for _, which := range []string{"gossip", "bulk", "control"} {
		t.Run(which, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "invite"), string(invite.Encode()))
			listen := strings.ReplaceAll("listen: {gossip: '127.0.0.1:0', bulk: '127.0.0.1:0', control: '127.0.0.1:0'}\n", which+": '127.0.0.1:0'", which+": '"+taken.Addr().String()+"'")
			file := write(t, filepath.Join(dir, "robot.yaml"), "dir: state\njoin: invite\nbase: true\n"+listen)
			var out, errs bytes.Buffer
			require.Equal(t, 2, run([]string{"--config", file}, nil, &out, &errs))
			require.Contains(t, errs.String(), "the port is taken by another process")
			require.Contains(t, errs.String(), taken.Addr().String())
			require.Contains(t, errs.String(), "next: stop the other process, or choose another port under listen:")
		})
	}
}
