// Package p2p gives robots authenticated streams to each other, by key.
//
// A Host listens on one address and dials others. Whoever it talks to has
// proved an ed25519 key, encrypted and in both directions; addresses are only
// hints where to look. One connection per pair carries all streams between
// them, but for those of OpenDirect, each for one named protocol ("/starling/meta/1"):
//
//	h, err := p2p.New(p2p.Config{Key: key, Listener: l, Resolve: roster.Addrs, Known: roster.Has, Admit: rules})
//	h.Handle("/starling/meta/1", p2p.Answer(64<<10, 10*time.Second, meta))
//	go h.Run(ctx)
//	answer, err := h.Call(ctx, peer, "/starling/meta/1", request, 64<<10)
//
// On the wire this is libp2p: multistream-select, TLS 1.3 or Noise, yamux,
// multistream-select per stream. Its swarm, resource manager and peer store are
// not used; the table of connections here is small because identities are known
// and an address is whatever Config.Dial understands.
//
// What a Host promises: no handler runs, and nothing but a refusal is answered, before
// Config.Admit has agreed to peer and protocol; strangers (not Config.Known)
// together hold at most MaxStrangers connections and a bounded rate of streams;
// a connection that died silently costs Open one dial timeout, not a failure;
// two hosts that dial each other at once both succeed; Close ends every stream.
package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

var (
	// ErrNoAddress is returned when nobody knows where the peer is. Ask the
	// roster or another peer, or use OpenAt.
	ErrNoAddress = errors.New("p2p: no address known for the peer")
	// ErrUnreachable is returned when no connection to the peer could be made or
	// kept. Try again later, or another peer.
	ErrUnreachable = errors.New("p2p: peer unreachable")
	// ErrWrongKey is returned when somebody else answers at the peer's address.
	// The address is old or the network lies; look for a newer one. It comes
	// together with ErrUnreachable.
	ErrWrongKey = errors.New("p2p: another key answers at this address")
	// ErrRefused is returned when the peer does not speak the protocol or does
	// not admit us to it. Do not try again before one side has changed.
	ErrRefused = errors.New("p2p: refused by the peer")
	// ErrBusy is returned when a limit is reached, here or at the peer. Try again
	// after a while.
	ErrBusy = errors.New("p2p: too many connections or streams")
	// ErrReset is returned by reads and writes on a stream that the other side
	// gave up, or whose connection ended. Open a new one.
	ErrReset = errors.New("p2p: stream reset")
	// ErrClosed is returned by a Host that has ended.
	ErrClosed = errors.New("p2p: host closed")
)

const (
	// DefaultDialTimeout is how long one address may take to accept a raw
	// connection, and how long an old connection may stay silent when a stream is
	// opened on it: short, because on a mesh a peer that does not answer at once
	// is usually gone.
	DefaultDialTimeout = 3 * time.Second
	// DefaultMaxPeers holds a bulk host's neighbours and a whole small swarm; an
	// idle connection takes some 100 kB.
	DefaultMaxPeers = 256
	// DefaultMaxStreamsPerPeer leaves room for every protocol several times.
	DefaultMaxStreamsPerPeer = 64
	// MaxStrangers bounds the connections that all strangers together hold.
	MaxStrangers = 16
	// MaxStrangerStreams bounds the streams that one stranger holds.
	MaxStrangerStreams = 4
	// DefaultIdleTimeout is after how long a connection without streams is closed.
	DefaultIdleTimeout = time.Minute
	// StrangerAge is after how long a stranger's connection is closed, busy or
	// not, so that others get a turn.
	StrangerAge = time.Minute

	// handshakeTimeout bounds proving keys, which takes four round trips and 4 KB. On a
	// full radio a round trip takes seconds; a handshake that is given up there is
	// begun anew, and keeps the radio full.
	handshakeTimeout = 30 * time.Second
	// openTimeout bounds agreeing on a stream's protocol on a live connection.
	openTimeout = 30 * time.Second
	// maxHandshakes bounds unfinished incoming connections; above it new ones are
	// closed at once. One address other than loopback gets a quarter.
	maxHandshakes = 64
	// strangersPerSec and strangersBurst bound new connections and streams of all
	// strangers together.
	strangersPerSec, strangersBurst = 10, 40
	// maxProtocol is the longest protocol name, in bytes.
	maxProtocol = 120
	// maxAddrs is how many addresses of one peer are tried.
	maxAddrs = 8
	// sweepInterval is how often idle connections are looked for.
	sweepInterval = 10 * time.Second
)

// Config says who a Host is, how it reaches the network and whom it serves.
type Config struct {
	// Key is the robot's private key and identity. Several hosts may share it.
	Key ed25519.PrivateKey
	// Listener brings raw connections in; the Host owns it after New. Nil takes
	// none in.
	Listener net.Listener
	// Dial makes raw connections out to an address "host:port". Nil is TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Resolve returns addresses to try for a peer, best first. Nil knows none.
	Resolve func(envelope.Key) []string
	// Admit is asked for every incoming stream before anything is answered; an
	// error resets the stream. Nil admits everybody to every protocol.
	Admit func(peer envelope.Key, protocol string) error
	// Known reports members. Others are strangers, held to MaxStrangers,
	// MaxStrangerStreams and a rate. Nil knows nobody.
	Known func(envelope.Key) bool
	// IdleTimeout is after how long a connection without streams is closed. Standing, it
	// costs memory and a keep-alive every two minutes; made anew, a handshake of 4 KB.
	// Zero means DefaultIdleTimeout.
	IdleTimeout time.Duration
	// DialTimeout bounds one raw dial. Zero means DefaultDialTimeout.
	DialTimeout time.Duration
	// MaxStreamsPerPeer bounds the incoming streams of one member; above it new
	// ones are reset. Zero means DefaultMaxStreamsPerPeer.
	MaxStreamsPerPeer int
	// MaxPeers bounds connected peers, in and out; at the bound the longest idle
	// one is closed, and if none is idle the new one. As many streams besides have
	// connections of their own, see OpenDirect. Zero means DefaultMaxPeers.
	MaxPeers int
	// Wrote is called with how many bytes were written to raw connections, from many
	// goroutines; it must not block. Nil counts nothing.
	Wrote func(bytes int)
	// Refused is called when a limit turned something away: who it was, zero before it
	// has proved a key, from which address, and which limit. It must not block; a flood
	// calls it for each connection and stream. Nil ignores it.
	Refused func(peer envelope.Key, addr, why string)
	// Log takes events. Nil discards them.
	Log *slog.Logger
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if len(c.Key) != ed25519.PrivateKeySize {
		errs = append(errs, fmt.Errorf("p2p: key of %d bytes, want an ed25519 private key of %d", len(c.Key), ed25519.PrivateKeySize))
	}
	if c.IdleTimeout < 0 || c.DialTimeout < 0 || c.MaxStreamsPerPeer < 0 || c.MaxPeers < 0 {
		errs = append(errs, errors.New("p2p: IdleTimeout, DialTimeout, MaxStreamsPerPeer and MaxPeers cannot be negative; zero is the default"))
	}
	return errors.Join(errs...)
}

// withDefaults returns c with every zero replaced by what it means.
func (c Config) withDefaults() Config {
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	if c.Resolve == nil {
		c.Resolve = func(envelope.Key) []string { return nil }
	}
	if c.Admit == nil {
		c.Admit = func(envelope.Key, string) error { return nil }
	}
	if c.Known == nil {
		c.Known = func(envelope.Key) bool { return false }
	}
	if c.Refused == nil {
		c.Refused = func(envelope.Key, string, string) {}
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = DefaultDialTimeout
	}
	if c.MaxStreamsPerPeer == 0 {
		c.MaxStreamsPerPeer = DefaultMaxStreamsPerPeer
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = DefaultMaxPeers
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
