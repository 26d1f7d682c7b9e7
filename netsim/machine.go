package netsim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-swarm/starling/netsim/disk"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/fabric"
	"github.com/starling-swarm/starling/node"
)

// stopping is how long an orderly end may take.
const stopping = 20 * time.Second

// A machine is one computer: what outlives its node, and the node that runs on it
// now. The story's goroutine starts and ends it; a fail point may end it too.
type machine struct {
	name   string
	host   *fabric.Host
	cfg    node.Config
	number exact.Machine // whose clock the node reads
	disk   *disk.Disk    // nil if its files are the host's own

	mu   sync.Mutex
	life *life     // guarded by mu: nil while the machine is off
	last *life     // guarded by mu: the life before, until it has ended
	born int       // guarded by mu: lives so far
	lost time.Time // guarded by mu: when it last lost its power, or was switched off
}

// A life is one run of a node.
type life struct {
	node  *node.Node
	stop  context.CancelFunc
	since time.Time
	gone  chan struct{} // closed when the node has ended and is closed
	err   error         // why Run ended; read after gone
	bye   atomic.Bool   // it is being switched off, and says so
}

// start boots the machine. It waits for the end of the life before: a dead
// process writes nothing any more.
func (m *machine) start(ctx context.Context) error {
	m.mu.Lock()
	last, running := m.last, m.life != nil
	m.mu.Unlock()
	if running {
		return fmt.Errorf("%s runs already", m.name)
	}
	if last != nil {
		select {
		case <-last.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.host.Start()
	m.powerOn(m.lives() == 0)
	var n *node.Node
	var err error
	exact.As(m.number, func() { n, err = node.New(m.cfg) })
	if err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &life{node: n, stop: cancel, since: time.Now(), gone: make(chan struct{})}
	m.mu.Lock()
	m.life, m.last = l, l
	m.born++
	m.mu.Unlock()
	exact.As(m.number, func() {
		go func() {
			defer close(l.gone)
			l.err = errors.Join(n.Run(ctx), n.Close())
			cancel()
		}()
	})
	return nil
}

// crash ends the machine as a loss of power does: nothing is sent any more, nobody
// is told. What the dead node's goroutines still do reaches nobody.
func (m *machine) crash() bool {
	m.mu.Lock()
	l := m.life
	m.life = nil
	if l != nil {
		m.lost = time.Now()
	}
	m.mu.Unlock()
	if l == nil {
		return false
	}
	m.host.Crash()
	l.stop()
	return true
}

// off switches the machine off in order: it says goodbye first.
func (m *machine) off(ctx context.Context) error {
	l := m.alive()
	if l == nil {
		return nil
	}
	l.bye.Store(true)
	leaving, cancel := context.WithTimeout(ctx, stopping)
	defer cancel()
	err := l.node.Leave(leaving)
	m.crash()
	select {
	case <-l.gone:
	case <-ctx.Done():
		return ctx.Err()
	}
	return err
}

// alive is the life that the machine lives now, or nil.
func (m *machine) alive() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// wasOn reports whether the machine is on, or was a moment ago.
func (m *machine) wasOn(moment time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life != nil || (!m.lost.IsZero() && time.Since(m.lost) <= moment)
}

// stays reports whether the machine is on and has not said goodbye.
func (m *machine) stays() bool {
	l := m.alive()
	return l != nil && !l.bye.Load()
}

// lastLife is the life that the machine lives, or lived last; nil before the first.
func (m *machine) lastLife() *life {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// lastView is what its node has verified, or had when it ended.
func (m *machine) lastView() *node.View {
	if l := m.lastLife(); l != nil {
		return l.node.View()
	}
	return nil
}

// lives is how often the machine was started.
func (m *machine) lives() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.born
}

// view is what the node has verified; nil if it is off or has not joined.
func (m *machine) view() *node.View {
	l := m.alive()
	if l == nil {
		return nil
	}
	return l.node.View()
}

// died is the error that a node ended with by itself, if it did.
func (m *machine) died() error {
	l := m.alive()
	if l == nil {
		return nil
	}
	select {
	case <-l.gone:
		if l.err == nil {
			return errors.New("its node ended by itself")
		}
		return l.err
	default:
		return nil
	}
}
