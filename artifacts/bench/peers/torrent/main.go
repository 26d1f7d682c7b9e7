// Command torrent is a member of a measured swarm that runs anacrolix/torrent: TCP
// only, no DHT, no tracker, addresses given, files on disk. What it has verified is
// remembered in memory, which spares it the database it would use by default.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"
	"golang.org/x/time/rate"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

func main() { os.Exit(peer.Main(&client{})) }

type client struct {
	spec peer.Spec
	c    *torrent.Client
	t    *torrent.Torrent
}

// Open implements peer.System.
func (x *client) Open(spec peer.Spec) (addr, id string, err error) {
	x.spec = spec
	host, _, err := net.SplitHostPort(spec.Listen)
	if err != nil {
		return "", "", err
	}
	cfg := torrent.NewDefaultClientConfig()
	cfg.ListenHost = func(string) string { return host }
	cfg.ListenPort = 0
	cfg.NoDHT, cfg.DisableTrackers, cfg.DisableUTP, cfg.DisableIPv6, cfg.NoDefaultPortForwarding = true, true, true, true, true
	cfg.Seed = true
	cfg.Slogger = slog.New(slog.DiscardHandler)
	dir := spec.Dir
	if spec.Seed {
		dir = filepath.Dir(spec.Source)
	}
	cfg.DefaultStorage = storage.NewFileWithCompletion(dir, storage.NewMapPieceCompletion())
	if spec.UploadBytesPerSec > 0 {
		cfg.UploadRateLimiter = rate.NewLimiter(rate.Limit(spec.UploadBytesPerSec), 64<<10)
	}
	if x.c, err = torrent.NewClient(cfg); err != nil {
		return "", "", err
	}
	mi, err := metainfo.LoadFromFile(spec.Meta + ".torrent")
	if err != nil {
		return "", "", err
	}
	if x.t, err = x.c.AddTorrent(mi); err != nil {
		return "", "", err
	}
	<-x.t.GotInfo()
	if spec.Seed {
		if err := x.t.VerifyDataContext(context.Background()); err != nil {
			return "", "", err
		}
		if !x.t.Seeding() {
			return "", "", fmt.Errorf("%d bytes of the file are missing", x.t.BytesMissing())
		}
	}
	return net.JoinHostPort(host, fmt.Sprint(x.c.LocalPort())), "", nil
}

// Connect implements peer.System. Peers are dialed when there is something to
// fetch, so fetchers learn of the others when they start.
func (x *client) Connect(others []peer.Address) error {
	for _, a := range others {
		tcp, err := net.ResolveTCPAddr("tcp", a.Addr)
		if err != nil {
			return err
		}
		x.t.AddPeers([]torrent.PeerInfo{{Addr: tcp, Trusted: true}})
	}
	return nil
}

// Fetch implements peer.System.
func (x *client) Fetch(ctx context.Context, _ func(peer.Notice)) error {
	if x.spec.Seed {
		return nil
	}
	x.t.DownloadAll()
	select {
	case <-x.t.Complete().On():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats implements peer.System.
func (x *client) Stats() (peer.Stats, error) {
	s := x.t.Stats()
	return peer.Stats{SentBytes: s.BytesWrittenData.Int64(), ReceivedBytes: s.BytesReadData.Int64()}, nil
}

// Close implements peer.System.
func (x *client) Close() error {
	if x.c == nil {
		return nil
	}
	for _, err := range x.c.Close() {
		return err
	}
	return nil
}
