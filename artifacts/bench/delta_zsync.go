package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// zsyncPlain lets zsync fetch what the old file lacks from a web server that only has
// the file and its list of blocks.
func zsyncPlain(ctx context.Context, b *bench, p *pair) (delta, error) {
	return zsyncDelta(ctx, b, p)
}

// zsyncPacked is the same from a file that zsync packed so that it can be fetched in
// parts.
func zsyncPacked(ctx context.Context, b *bench, p *pair) (delta, error) {
	return zsyncDelta(ctx, b, p, "-z")
}

func zsyncDelta(ctx context.Context, b *bench, p *pair, flags ...string) (d delta, err error) {
	dir, err := os.MkdirTemp(b.dir, "zsync-")
	if err != nil {
		return d, err
	}
	file, list := filepath.Join(dir, "new"), filepath.Join(dir, "new.zsync")
	if err := os.Link(p.newOne, file); err != nil { // zsync -z writes beside it
		return d, err
	}
	url := "new"
	if len(flags) > 0 {
		url += ".gz"
	}
	_, d.make, err = spend(ctx, append(append([]string{"zsyncmake"}, flags...), "-u", url, "-o", list, file)...)
	if err != nil {
		return d, err
	}
	web, err := newWeb(dir)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, web.close()) }()
	// Through a proxy it would not reach loopback; and what it makes begins where it runs.
	_, d.apply, err = spend(ctx, "env", "-u", "http_proxy", "-C", dir, "zsync", "-q", "-i", p.olderOne, "-o", "target", web.url+"/new.zsync")
	if err != nil {
		return d, err
	}
	info, err := os.Stat(list)
	if err != nil {
		return d, err
	}
	d.wire, d.list = web.sent.Load(), info.Size()
	return d, same(p.newOne, filepath.Join(dir, "target"))
}

// A web serves a directory on loopback and counts what it sends, headers included.
type web struct {
	url    string
	sent   atomic.Int64
	server *http.Server
	ended  chan error // from Serve; depth 1
}

func newWeb(dir string) (*web, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	files := http.FileServer(http.Dir(dir))
	w := &web{url: "http://" + l.Addr().String(), ended: make(chan error, 1)}
	w.server = &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(&asApache{rw}, r)
	})}
	go func() { w.ended <- w.server.Serve(&countedListener{l, &w.sent}) }()
	return w, nil
}

func (w *web) close() error {
	err := w.server.Close()
	if end := <-w.ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// asApache begins the body of an answer of several ranges with an empty line, as Apache
// does. zsync 0.6.2 passes over the first line whatever it is: without the empty one
// that is the mark of the first part, and it asks for the same ranges for ever.
type asApache struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *asApache) WriteHeader(status int) {
	h := a.Header()
	parts := strings.HasPrefix(h.Get("Content-Type"), "multipart/byteranges")
	if n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64); parts && err == nil {
		h.Set("Content-Length", fmt.Sprint(n+2))
	}
	a.ResponseWriter.WriteHeader(status)
	if parts {
		_, _ = a.Write([]byte("\r\n")) // if it does not arrive, what follows does not either
	}
}

type countedListener struct {
	net.Listener
	sent *atomic.Int64
}

// Accept implements net.Listener.
func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l.sent}, nil
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

// Write implements net.Conn.
func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}
