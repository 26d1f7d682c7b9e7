package daemon

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
)

// operator founds a swarm in dir/state and returns a configuration for it.
func operator(t *testing.T, dir string) (*config.Config, ed25519.PrivateKey) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	keys := []envelope.Key{envelope.KeyOf(key)}
	b, err := trust.Init(keys, 1, keys, trust.Signers{Owner: []ed25519.PrivateKey{key}, Operator: []ed25519.PrivateKey{key}}, time.Now())
	require.NoError(t, err)
	require.NoError(t, node.Found(filepath.Join(dir, "state"), "orchard-3", "op", b, key))
	const any = "127.0.0.1:0"
	c := load(t, dir, "dir: state\nbase: true\nprofile: local\nadvertise: 127.0.0.1\nlisten: {gossip: \""+any+"\", bulk: \""+any+"\", control: \""+any+"\"}\n")
	return c, key
}

func TestSystemdHearsFromTheNode(t *testing.T) {
	dir := t.TempDir()
	c, key := operator(t, dir)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer systemd.Close()
	require.NoError(t, systemd.SetReadDeadline(time.Now().Add(2*time.Minute)))
	heard := func(want string) {
		buf := make([]byte, 4096)
		for {
			n, err := systemd.Read(buf)
			require.NoError(t, err, "never heard %q", want)
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan *node.Node, 1)
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, c, nil, Options{
			OperatorKey: key, Started: func(n *node.Node) { opened <- n },
			Env: []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=100000"},
		})
	}()
	heard("READY=1")
	heard("STATUS=orchard-3: 1 members, 1 alive")
	heard("WATCHDOG=1")
	<-(<-opened).Ready()

	client := api.Dial(c.API)
	defer client.Close()
	s, err := client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "orchard-3", s.Swarm)

	err = Run(t.Context(), c, nil, Options{OperatorKey: key})
	require.ErrorIs(t, err, node.ErrLocked)

	begun := time.Now()
	cancel()
	heard("STOPPING=1")
	require.NoError(t, <-done)
	require.Less(t, time.Since(begun), 30*time.Second, "nobody was there to wait for")
	_, err = client.Status(t.Context())
	require.Equal(t, 7, api.ExitCode(err))
}

func TestPortsAreTaken(t *testing.T) {
	dir := t.TempDir()
	c, key := operator(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c.Listen.Control = l.Addr().String()
	err = Run(t.Context(), c, nil, Options{OperatorKey: key})
	require.ErrorIs(t, err, node.ErrPortTaken)
	require.Equal(t, 2, api.ExitCode(err))
}

func TestOutsideSystemdNothingIsSaid(t *testing.T) {
	n, err := newNotifier([]string{"HOME=/"})
	require.NoError(t, err)
	require.NoError(t, n.run(t.Context(), nil, nil))
	require.NoError(t, n.close())
	_, err = newNotifier([]string{"NOTIFY_SOCKET=" + filepath.Join(t.TempDir(), "none")})
	require.Error(t, err)
}
