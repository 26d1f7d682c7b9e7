// Command bitswap is a member of a measured swarm that runs Bitswap of boxo, as a
// node of IPFS does: libp2p with TLS 1.3 over TCP, blocks of 256 KiB in a tree of
// links, a session that fetches the whole graph, each block in a
// file.
// Peers are connected to each other, so nobody looks for providers.
package main

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/ipld/merkledag"
	unixfile "github.com/ipfs/boxo/ipld/unixfs/file"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"

	"github.com/starling-swarm/starling/artifacts/bench/peer"
)

func main() { os.Exit(peer.Main(&node{})) }

type node struct {
	spec   peer.Spec
	host   host.Host
	blocks dir
	swap   *bitswap.Bitswap
	stop   context.CancelFunc
	idle   float64 // CPU seconds when everybody was connected
}

// Open implements peer.System.
func (n *node) Open(spec peer.Spec) (addr, id string, err error) {
	n.spec = spec
	at, _, err := net.SplitHostPort(spec.Listen)
	if err != nil {
		return "", "", err
	}
	n.host, err = libp2p.New(libp2p.ListenAddrStrings("/ip4/"+at+"/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New), libp2p.DisableRelay(), libp2p.ResourceManager(nil))
	if err != nil {
		return "", "", err
	}
	n.blocks = dir(filepath.Join(spec.Dir, "blocks"))
	if err := os.MkdirAll(string(n.blocks), 0o755); err != nil {
		return "", "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	if spec.Seed {
		if err := n.add(ctx); err != nil {
			return "", "", err
		}
	}
	n.swap = bitswap.New(ctx, bsnet.NewFromIpfsHost(n.host), nil, n.blocks)
	return n.host.Addrs()[0].String(), n.host.ID().String(), nil
}

// add cuts the file into blocks and leaves the root's name to the others.
func (n *node) add(ctx context.Context) error {
	f, err := os.Open(n.spec.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	dag := merkledag.NewDAGService(blockservice.New(n.blocks, offline.Exchange(n.blocks)))
	prefix, err := merkledag.PrefixForCidVersion(1)
	if err != nil {
		return err
	}
	params := helpers.DagBuilderParams{Maxlinks: helpers.DefaultLinksPerBlock, RawLeaves: true, CidBuilder: prefix, Dagserv: dag}
	b, err := params.New(chunk.DefaultSplitter(f))
	if err != nil {
		return err
	}
	root, err := balanced.Layout(b)
	if err != nil {
		return err
	}
	return os.WriteFile(n.spec.Meta+".cid", []byte(root.Cid().String()), 0o600)
}

// Connect implements peer.System: everybody is connected to everybody.
func (n *node) Connect(others []peer.Address) error {
	for _, a := range others {
		id, err := lpeer.Decode(a.ID)
		if err != nil {
			return err
		}
		addr, err := multiaddr.NewMultiaddr(a.Addr)
		if err != nil {
			return err
		}
		if err := n.host.Connect(context.Background(), lpeer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{addr}}); err != nil {
			return err
		}
	}
	n.idle = peer.CPUSeconds()
	return nil
}

// root is the name that the seed has left.
func (n *node) root() (cid.Cid, error) {
	name, err := os.ReadFile(n.spec.Meta + ".cid")
	if err != nil {
		return cid.Undef, err
	}
	return cid.Decode(string(name))
}

// Fetch implements peer.System: it fetches the blocks. The file is written out of
// them when the clock has stopped.
func (n *node) Fetch(ctx context.Context, _ func(peer.Notice)) error {
	if n.spec.Seed {
		return nil
	}
	root, err := n.root()
	if err != nil {
		return err
	}
	dag := merkledag.NewDAGService(blockservice.New(n.blocks, n.swap))
	return merkledag.FetchGraph(ctx, root, dag, merkledag.Concurrent())
}

// export writes the file from the blocks, for the harness to check.
func (n *node) export(ctx context.Context) error {
	root, err := n.root()
	if err != nil {
		return err
	}
	dag := merkledag.NewDAGService(blockservice.New(n.blocks, offline.Exchange(n.blocks)))
	top, err := dag.Get(ctx, root)
	if err != nil {
		return err
	}
	f, err := unixfile.NewUnixfsFile(ctx, dag, top)
	if err != nil {
		return err
	}
	return files.WriteTo(f, filepath.Join(n.spec.Dir, "image"))
}

// Stats implements peer.System.
func (n *node) Stats() (peer.Stats, error) {
	s, err := n.swap.Stat()
	if err != nil {
		return peer.Stats{}, err
	}
	out := peer.Stats{
		SentBytes: int64(s.DataSent), ReceivedBytes: int64(s.DataReceived),
		CPUSeconds: peer.CPUSeconds() - n.idle, PeakRSSBytes: peer.PeakRSS("self"),
	}
	if n.spec.Seed {
		return out, nil
	}
	return out, n.export(context.Background())
}

// Close implements peer.System.
func (n *node) Close() error {
	if n.stop == nil {
		return nil
	}
	n.stop()
	n.swap.Close()
	return n.host.Close()
}
