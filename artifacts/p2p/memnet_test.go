package p2p

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A memNet is a network of channels and timers for tests in virtual time. Every
// write takes latency.
type memNet struct {
	latency time.Duration
	mu      sync.Mutex
	at      map[string]*memListener
	ends    []*memConn // every end ever made
}

func newMemNet() *memNet {
	return &memNet{latency: 20 * time.Millisecond, at: map[string]*memListener{}}
}

type memListener struct {
	net    *memNet
	addr   *net.TCPAddr
	queue  chan net.Conn // dialers send, Accept takes; unbuffered
	closed chan struct{}
	once   sync.Once
}

func (n *memNet) listen(addr string) *memListener {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		panic(err)
	}
	l := &memListener{net: n, addr: tcp, queue: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[addr] = l
	return l
}

func (l *memListener) Addr() net.Addr { return l.addr }

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (n *memNet) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.at[addr]
	n.mu.Unlock()
	if l == nil {
		<-ctx.Done() // nobody answers there
		return nil, ctx.Err()
	}
	there, here := make(chan []byte, 64), make(chan []byte, 64)
	a := &memConn{latency: n.latency, in: here, out: there, closed: make(chan struct{}), local: &net.TCPAddr{IP: net.IPv4(10, 9, 9, 9), Port: 1}, remote: l.addr}
	b := &memConn{latency: n.latency, in: there, out: here, closed: make(chan struct{}), local: l.addr, remote: a.local}
	a.other, b.other = b, a
	for _, c := range []*memConn{a, b} {
		c.rd, c.wr, c.told = newAlarm(), newAlarm(), make(chan struct{})
	}
	select {
	case l.queue <- b:
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends = append(n.ends, a, b)
	return a, nil
}

// cut makes every connection so far swallow what is written, closes included.
func (n *memNet) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.ends {
		c.dead.Store(true)
	}
}

type memConn struct {
	latency       time.Duration
	in, out       chan []byte   // 64 writes deep; a full one blocks the writer
	rest          []byte        // of the write being read
	closed        chan struct{} // closed by Close
	told          chan struct{} // closed by Close unless dead: the other end notices
	once          sync.Once
	other         *memConn
	dead          atomic.Bool
	rd, wr        *alarm
	local, remote net.Addr
}

func (c *memConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case c.rest = <-c.in:
		default:
			select {
			case c.rest = <-c.in:
			case <-c.closed:
				return 0, net.ErrClosed
			case <-c.other.told:
				select {
				case c.rest = <-c.in:
				default:
					return 0, io.EOF
				}
			case <-c.rd.wait():
				return 0, os.ErrDeadlineExceeded
			}
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *memConn) Write(b []byte) (int, error) {
	select {
	case <-time.After(c.latency):
	case <-c.closed:
		return 0, net.ErrClosed
	}
	if c.dead.Load() {
		return len(b), nil
	}
	select {
	case c.out <- append([]byte(nil), b...):
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-c.other.told:
		return 0, errors.New("connection reset")
	case <-c.wr.wait():
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *memConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		if !c.dead.Load() {
			close(c.told)
		}
	})
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }
func (c *memConn) SetDeadline(t time.Time) error {
	c.rd.set(t)
	c.wr.set(t)
	return nil
}
func (c *memConn) SetReadDeadline(t time.Time) error  { c.rd.set(t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.wr.set(t); return nil }

// An alarm is a deadline that can be moved: a channel that closes.
type alarm struct {
	mu    sync.Mutex
	timer *time.Timer
	rang  chan struct{}
}

func newAlarm() *alarm { return &alarm{rang: make(chan struct{})} }

func (a *alarm) wait() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rang
}

func (a *alarm) set(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.timer.Stop() {
		a.rang = make(chan struct{})
	}
	a.timer = nil
	if t.IsZero() {
		return
	}
	rang := a.rang
	a.timer = time.AfterFunc(time.Until(t), func() { close(rang) })
}
