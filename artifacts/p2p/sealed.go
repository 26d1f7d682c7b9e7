package p2p

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A pulse is a raw connection that counts what it hears, so that a dead one can
// be told from a busy one. While gathering, it joins what is written to it: TLS
// writes records of 16 KiB at most, and a system call costs as much as copying that.
type pulse struct {
	net.Conn
	heard atomic.Int64 // bytes read
	sent  atomic.Int64 // bytes that were taken to be sent
	wrote func(int)    // is told of bytes to write; may be nil

	// writing holds one token, taken by whoever writes: the muxer's sender, and
	// rarely TLS itself from where it reads. It guards out.
	writing chan struct{}
	out     *buffer // nil unless gathering

	// The reader's.
	whole bool            // an end without a word of the peer's is an error: TLS takes it for the stream's
	sys   syscall.RawConn // nil if the connection is not the kernel's
	in    *buffer         // what was read and not asked for yet; nil is nothing
}

// bufferBytes holds one frame of the muxer with what encryption adds.
const bufferBytes = 72 << 10

// A buffer is bytes on their way. Connections own one only while there are some:
// most are idle.
type buffer struct {
	from, to int // what is not gone yet
	b        [bufferBytes]byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newPulse(raw net.Conn, wrote func(int)) *pulse {
	p := &pulse{Conn: raw, wrote: wrote, writing: make(chan struct{}, 1)}
	if c, ok := raw.(syscall.Conn); ok {
		// Without it, reads are smaller, and that is all.
		p.sys, _ = c.SyscallConn()
	}
	return p
}

// Write implements net.Conn. Of what is gathered it says that it was written; if it
// cannot be sent after all, send says so.
func (p *pulse) Write(b []byte) (int, error) {
	if p.wrote != nil {
		p.wrote(len(b))
	}
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	o := p.out
	if o == nil {
		return p.put(b)
	}
	if len(b) > len(o.b)-o.to {
		if err := o.send(p); err != nil {
			return 0, err
		}
	}
	if len(b) > len(o.b) {
		return p.put(b)
	}
	o.to += copy(o.b[o.to:], b)
	return len(b), nil
}

// put writes to the raw connection.
func (p *pulse) put(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.sent.Add(int64(n))
	return n, err
}

// gather begins to join writes.
func (p *pulse) gather() {
	p.writing <- struct{}{}
	p.out = buffers.Get().(*buffer)
	<-p.writing
}

// send ends gather and sends what was gathered.
func (p *pulse) send() error {
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	o := p.out
	p.out = nil
	err := o.send(p)
	buffers.Put(o)
	return err
}

// send empties the buffer, in any case.
func (o *buffer) send(p *pulse) error {
	n := o.to
	o.to = 0
	if n == 0 {
		return nil
	}
	_, err := p.put(o.b[:n])
	return err
}

// Read implements net.Conn. It takes all that the kernel has, up to a buffer, and keeps
// what b does not hold for the next call: TLS asks for one record at a time.
func (p *pulse) Read(b []byte) (int, error) {
	n, err := p.read(b)
	if err == io.EOF && p.whole {
		err = errCut
	}
	return n, err
}

// errCut is a connection that ended within a stream.
var errCut = errors.New("the connection was cut")

func (p *pulse) read(b []byte) (int, error) {
	if p.in == nil && (p.sys == nil || len(b) >= bufferBytes) {
		n, err := p.Conn.Read(b)
		p.heard.Add(int64(n))
		return n, err
	}
	if p.in == nil {
		if err := p.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.in.b[p.in.from:p.in.to])
	if p.in.from += n; p.in.from == p.in.to {
		p.in.from, p.in.to = 0, 0
		buffers.Put(p.in)
		p.in = nil
	}
	return n, nil
}

// fill waits for bytes and reads them. It takes a buffer when there are some.
func (p *pulse) fill() error {
	var failed error
	err := p.sys.Read(func(fd uintptr) (done bool) {
		in := buffers.Get().(*buffer)
		n, err := unix.Read(int(fd), in.b[:])
		for err == unix.EINTR {
			n, err = unix.Read(int(fd), in.b[:])
		}
		switch {
		case n > 0:
			in.to = n
			p.in = in
			p.heard.Add(int64(n))
			return true
		case err == nil:
			failed = io.EOF
		case err == unix.EAGAIN:
		default:
			failed = os.NewSyscallError("read", err)
		}
		buffers.Put(in)
		return failed != nil
	})
	if err != nil {
		return err
	}
	return failed
}

// sealed is the authenticated connection under the muxer, which alone writes to it.
// It closes the raw connection without a TLS farewell, which could block on a dead
// link.
type sealed struct {
	net.Conn
	raw *pulse
}

// Write encrypts b and sends it at once.
func (s sealed) Write(b []byte) (int, error) {
	s.raw.gather()
	n, err := s.Conn.Write(b)
	if e := s.raw.send(); e != nil && err == nil {
		return 0, e
	}
	return n, err
}

func (s sealed) Close() error { return s.raw.Close() }
