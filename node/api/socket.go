package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrInUse is returned by Listen when somebody answers on the socket already: stop
// that process, or use another path.
var ErrInUse = errors.New("api: another process answers on this socket")

// SocketMode is the socket's: its owner and group may use the API.
const SocketMode = 0o660

// maxSocketPath is what every system allows for the path of a unix socket.
const maxSocketPath = 103

// Listen opens the unix socket at path. A socket that nobody answers on is a
// leftover and is replaced.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	path = strings.TrimPrefix(path, "unix:")
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("api: the path of the socket has %d bytes and systems allow %d: set a shorter one under api: (%s)", len(path), maxSocketPath, path)
	}
	if err := clear(ctx, path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("api: make the socket's folder: %w", err)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("api: listen at %s: %w", path, err)
	}
	if err := os.Chmod(path, SocketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("api: %w", err), l.Close())
	}
	return l, nil
}

// clear removes a socket that nobody answers on.
func clear(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("api: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("api: %s is there and is no socket: move it away, or set another path for the api", path)
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%w (%s)", ErrInUse, path), conn.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("api: remove the leftover socket: %w", err)
	}
	return nil
}
