package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/starling-swarm/starling/node"
)

// statusEvery is the least time between two status lines to systemd.
const statusEvery = time.Second

// notifier tells systemd how the service does (sd_notify(3)). Outside systemd it
// does nothing.
type notifier struct {
	conn     net.Conn      // nil outside systemd
	watchdog time.Duration // how often systemd wants a sign of life; zero is never
}

// newNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
func newNotifier(env []string) (*notifier, error) {
	vars := map[string]string{}
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			vars[k] = v
		}
	}
	path := vars["NOTIFY_SOCKET"]
	if path == "" {
		return &notifier{}, nil
	}
	conn, err := net.Dial("unixgram", path) // a leading @ is an abstract address here too
	if err != nil {
		return nil, fmt.Errorf("reach systemd at NOTIFY_SOCKET: %w", err)
	}
	n := &notifier{conn: conn}
	if pid := vars["WATCHDOG_PID"]; pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if usec, err := strconv.ParseInt(vars["WATCHDOG_USEC"], 10, 64); err == nil && usec > 0 {
			n.watchdog = time.Duration(usec) * time.Microsecond
		}
	}
	return n, nil
}

// run says that the service is ready, then its status as it changes, and a sign of
// life for as long as the node's goroutines answer.
func (s *notifier) run(ctx context.Context, n *node.Node, log *slog.Logger) error {
	if s.conn == nil {
		return nil
	}
	s.say(log, "READY=1")
	dog := time.NewTicker(max(s.watchdog/2, time.Millisecond))
	defer dog.Stop()
	if s.watchdog == 0 {
		dog.Stop()
	}
	pause := time.NewTicker(statusEvery)
	defer pause.Stop()
	said := ""
	for {
		changed := n.Changed()
		if line := n.Status().Summary; line != said {
			s.say(log, "STATUS="+strings.ReplaceAll(line, "\n", " "))
			said = line
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case <-dog.C:
				s.alive(ctx, n, log)
			case <-pause.C:
				select {
				case <-changed:
					waiting = false
				default:
				}
			}
		}
	}
}

// alive gives the sign of life if the node answers within a watchdog's half.
func (s *notifier) alive(ctx context.Context, n *node.Node, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, s.watchdog/2)
	defer cancel()
	if err := n.Ping(ctx); err != nil {
		log.Error("the node does not answer; systemd is not told that it lives", "err", err)
		return
	}
	s.say(log, "WATCHDOG=1")
}

func (s *notifier) say(log *slog.Logger, state string) {
	if s.conn == nil {
		return
	}
	if _, err := s.conn.Write([]byte(state)); err != nil {
		log.Warn("systemd not told", "state", state, "err", err)
	}
}

func (s *notifier) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
