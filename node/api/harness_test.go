package api_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// laptop is an operator's node on loopback with its API.
type laptop struct {
	*api.Client
	t        *testing.T
	ctx      context.Context
	n        *node.Node
	dir      string
	socket   string
	owner    ed25519.PrivateKey
	operator ed25519.PrivateKey
	bundle   *trust.Bundle
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return k
}

func loopback(dir string) node.Config {
	return node.Config{Dir: dir, Gossip: "127.0.0.1:0", Bulk: "127.0.0.1:0", Control: "127.0.0.1:0", Advertise: "127.0.0.1", Profile: "local"}
}

// newLaptop founds the swarm orchard-3 and starts its operator's node. history is
// what the node is to find in its history, one line of JSON each.
func newLaptop(t *testing.T, history string) *laptop {
	return newLaptopOf(t, history, func(*node.Config) {})
}

// newLaptopOf is newLaptop with a configuration that was changed.
func newLaptopOf(t *testing.T, history string, change func(*node.Config)) *laptop {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	l := &laptop{t: t, ctx: ctx, dir: filepath.Join(t.TempDir(), "op"), owner: newKey(t), operator: newKey(t)}
	var err error
	l.bundle, err = trust.Init([]envelope.Key{envelope.KeyOf(l.owner)}, 1, []envelope.Key{envelope.KeyOf(l.operator)}, l.signers(), time.Now())
	require.NoError(t, err)
	require.NoError(t, node.Found(l.dir, "orchard-3", "op", l.bundle, l.operator))
	if history != "" {
		require.NoError(t, os.WriteFile(filepath.Join(l.dir, "history"), []byte(history), 0o600))
	}
	cfg := loopback(l.dir)
	cfg.OperatorKey = l.operator
	change(&cfg)
	l.n, l.socket = start(t, ctx, cfg)
	l.Client = api.Dial("unix:" + l.socket)
	t.Cleanup(l.Client.Close)
	<-l.n.Ready()
	return l
}

func (l *laptop) signers() trust.Signers {
	return trust.Signers{Owner: []ed25519.PrivateKey{l.owner}, Operator: []ed25519.PrivateKey{l.operator}}
}

// start runs a node and its API until the test ends.
func start(t *testing.T, ctx context.Context, cfg node.Config) (*node.Node, string) {
	n, err := node.New(cfg)
	require.NoError(t, err)
	socket := filepath.Join(cfg.Dir, "api.sock")
	ln, err := api.Listen(ctx, socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 2)
	go func() { done <- n.Run(ctx) }()
	go func() { done <- api.New(n, api.Options{}).Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.NoError(t, n.Close())
	})
	return n, socket
}

// robot joins another node with an invite of the API's making.
func (l *laptop) robot(name string) *node.Node {
	i, err := l.Invite(l.ctx, node.InviteRequest{Labels: map[string]string{"model": "mk1"}})
	require.NoError(l.t, err)
	cfg := loopback(filepath.Join(filepath.Dir(l.dir), name))
	cfg.Name, cfg.Invite = name, i
	n, _ := start(l.t, l.ctx, cfg)
	select {
	case <-n.Ready():
	case <-l.ctx.Done():
		require.Fail(l.t, "robot has not joined")
	}
	return n
}

// until reads statuses from the watch stream until one is as wanted.
func (l *laptop) until(what string, cond func(*node.Status) bool) *node.Status {
	l.t.Helper()
	for s, err := range l.Watch(l.ctx) {
		require.NoError(l.t, err)
		if cond(s) {
			return s
		}
	}
	require.Fail(l.t, "never seen: "+what)
	return nil
}

// problem checks that err is a Problem with this code.
func problem(t *testing.T, code api.Code, err error) *api.Problem {
	t.Helper()
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, code, p.Code, p.Reason)
	require.Equal(t, api.ProblemSchema, p.Schema)
	return p
}

// bare talks HTTP over the socket without the Client.
func bare(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: dialer(socket), DisableKeepAlives: true}}
}
