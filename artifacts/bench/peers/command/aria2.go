package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

// aria2 exchanges the file by BitTorrent. It learns of others only from a tracker,
// which runs in the seed's process here.
type aria2 struct{ rpc string }

func (a *aria2) serve(p *program) (string, error) {
	l, err := net.Listen("tcp", p.spec.Listen)
	if err != nil {
		return "", err
	}
	t := &tracker{peers: map[string][]byte{}}
	go func() { _ = http.Serve(l, t) }() // until the process ends
	if err := a.start(p, filepath.Dir(p.spec.Source), l.Addr().String()); err != nil {
		return "", err
	}
	return l.Addr().String(), a.complete(context.Background())
}

func (a *aria2) fetch(ctx context.Context, p *program, seed peer.Address) error {
	if err := a.start(p, p.spec.Dir, seed.Addr); err != nil {
		return err
	}
	return a.complete(ctx)
}

// start starts the program.
func (a *aria2) start(p *program, dir, tracker string) error {
	host, _, err := net.SplitHostPort(p.spec.Listen)
	if err != nil {
		return err
	}
	rpc, err := freePort("127.0.0.1")
	if err != nil {
		return err
	}
	port, err := freePort(host)
	if err != nil {
		return err
	}
	a.rpc = "http://127.0.0.1:" + rpc + "/jsonrpc"
	_, err = p.run("aria2c", "--no-conf", "--quiet", "--dir="+dir, "--check-integrity=true", "--allow-overwrite=true", "--file-allocation=none",
		"--seed-ratio=0.0", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--disable-ipv6=true",
		"--bt-tracker-interval=1", "--bt-tracker=http://"+tracker+"/announce", "--listen-port="+port,
		"--enable-rpc", "--rpc-listen-port="+rpc, p.spec.Meta+".torrent")
	return err
}

// complete waits until the file is here and checked.
func (a *aria2) complete(ctx context.Context) error {
	for {
		s, err := a.status()
		if err == nil && s.Total > 0 && s.Completed == s.Total {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (a *aria2) sent(*program) int64 {
	s, err := a.status()
	if err != nil {
		return -1
	}
	return int64(s.Uploaded)
}

type status struct{ Total, Completed, Uploaded int }

// status asks the program, which answers in strings.
func (a *aria2) status() (s status, err error) {
	question := `{"jsonrpc":"2.0","id":"1","method":"aria2.tellActive","params":[["totalLength","completedLength","uploadLength","verifiedLength"]]}`
	answer, err := http.Post(a.rpc, "application/json", bytes.NewReader([]byte(question)))
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	var body struct {
		Result []struct{ TotalLength, CompletedLength, UploadLength, VerifiedLength string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || len(body.Result) != 1 {
		return s, fmt.Errorf("aria2 has %d downloads: %w", len(body.Result), err)
	}
	r := body.Result[0]
	if r.VerifiedLength != "" {
		return s, nil // still looks at what is there
	}
	for to, text := range map[*int]string{&s.Total: r.TotalLength, &s.Completed: r.CompletedLength, &s.Uploaded: r.UploadLength} {
		if *to, err = strconv.Atoi(text); err != nil {
			return s, err
		}
	}
	return s, nil
}

// A tracker tells everybody of everybody (BEP 3, compact peers of BEP 23).
type tracker struct {
	mu    sync.Mutex // guards peers
	peers map[string][]byte
}

// ServeHTTP implements http.Handler.
func (t *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host).To4()
	port, err2 := strconv.ParseUint(r.URL.Query().Get("port"), 10, 16)
	if err != nil || err2 != nil || ip == nil {
		http.Error(w, "bad announce", http.StatusBadRequest)
		return
	}
	me := string(binary.BigEndian.AppendUint16(append([]byte{}, ip...), uint16(port)))
	t.mu.Lock()
	var all []byte
	for k, p := range t.peers {
		if k != me {
			all = append(all, p...)
		}
	}
	t.peers[me] = []byte(me)
	t.mu.Unlock()
	fmt.Fprintf(w, "d8:intervali1e12:min intervali1e5:peers%d:%se", len(all), all)
}
