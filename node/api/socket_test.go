package api_test

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/api"
)

func dialer(socket string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
}

func TestOnlyOwnerAndGroupMayOpenTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "api.sock")
	l, err := api.Listen(t.Context(), path)
	require.NoError(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o660), info.Mode().Perm())
}

func TestALeftoverSocketIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	dead, err := net.Listen("unix", path)
	require.NoError(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false) // as after a crash
	require.NoError(t, dead.Close())

	l, err := api.Listen(t.Context(), path)
	require.NoError(t, err)
	defer l.Close()

	_, err = api.Listen(t.Context(), path)
	require.ErrorIs(t, err, api.ErrInUse)
	require.Equal(t, 12, api.ExitCode(err))
	conn, err := net.Dial("unix", path)
	require.NoError(t, err, "the first one must go on")
	require.NoError(t, conn.Close())
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	require.NoError(t, os.WriteFile(path, []byte("letters"), 0o600))
	_, err := api.Listen(t.Context(), path)
	require.ErrorContains(t, err, "no socket")
	require.FileExists(t, path)

	_, err = api.Listen(t.Context(), filepath.Join(t.TempDir(), strings.Repeat("x", 100)))
	require.ErrorContains(t, err, "api:")
}
