package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/multiformats/go-multistream"
	"golang.org/x/sys/cpu"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

const (
	// windowBytes is what one stream may have in flight: 160 Mbit/s at 50 ms.
	windowBytes = 1 << 20
	// keepAlive finds connections that died while a stream on them waits in silence;
	// where an answer is due, Open watches. A swarm of a hundred has a thousand
	// connections: asked four times a minute, as they once were, they alone fill a
	// third of a radio mesh's air.
	keepAlive = 2 * time.Minute
	// stallTimeout is how long one write or an answer to a keep-alive may take;
	// longer than 64 KiB take at 0.05 Mbit/s.
	stallTimeout = 30 * time.Second
	// rttInterval is how often yamux measures round trips to size its windows, after
	// it has at the start.
	rttInterval = 30 * time.Minute
)

// A security turns raw connections into authenticated ones that carry streams.
// It is immutable and shared.
type security struct {
	tls    *libp2ptls.Identity
	noise  *noise.Transport
	muxer  *yamux.Transport
	offer  []protocol.ID // what we ask for when dialing, best first
	carry  []string      // what an incoming TLS connection may carry, best first
	accept *multistream.MultistreamMuxer[protocol.ID]
}

// newSecurity makes the identity of key. Where the processor has no AES
// instructions, Noise (ChaCha20) is asked for first: it needs fewer round trips.
func newSecurity(key ed25519.PrivateKey) (*security, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("p2p: key: %w", err)
	}
	id, err := libp2ptls.NewIdentity(priv, libp2ptls.WithCertTemplate(timeless()))
	if err != nil {
		return nil, fmt.Errorf("p2p: make a TLS certificate: %w", err)
	}
	config := *yamux.DefaultTransport.Config()
	config.MaxStreamWindowSize = windowBytes
	config.KeepAliveInterval = keepAlive
	config.ConnectionWriteTimeout = stallTimeout
	config.MeasureRTTInterval = rttInterval
	muxer := (*yamux.Transport)(&config)
	n, err := noise.New(noise.ID, priv, []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: muxer}})
	if err != nil {
		return nil, fmt.Errorf("p2p: noise: %w", err)
	}
	s := &security{tls: id, noise: n, muxer: muxer, offer: []protocol.ID{libp2ptls.ID, noise.ID}, carry: []string{directALPN, yamux.ID}}
	if !hasAES() {
		slices.Reverse(s.offer)
	}
	s.accept = multistream.NewMultistreamMuxer[protocol.ID]()
	for _, p := range s.offer {
		s.accept.AddHandler(p, nil)
	}
	return s, nil
}

func hasAES() bool {
	return cpu.X86.HasAES || cpu.ARM64.HasAES || cpu.ARM.HasAES || cpu.S390X.HasAES
}

// timeless is a certificate that holds at any time: a robot's clock may say
// 1970 or 2099, and the key, not the certificate, is the identity.
func timeless() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
}

// upgrade proves keys over raw and starts the muxer. want is the peer that must
// answer; nil is an incoming connection, from anybody. alone asks the peer for a
// connection without a muxer, or none. It closes raw on error and when ctx ends.
func (s *security) upgrade(ctx context.Context, raw *pulse, want *envelope.Key, alone bool) (network.MuxedConn, envelope.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	mux, key, err := s.handshake(ctx, raw, want, alone)
	if !stop() && err == nil {
		mux.Close()
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("prove keys: %w", context.Cause(ctx))
		}
		return nil, envelope.Key{}, err
	}
	return mux, key, nil
}

func (s *security) handshake(ctx context.Context, raw *pulse, want *envelope.Key, alone bool) (network.MuxedConn, envelope.Key, error) {
	var id peer.ID
	var err error
	var chosen protocol.ID
	if want != nil {
		if id, err = peerID(*want); err != nil {
			return nil, envelope.Key{}, err
		}
		offer := s.offer
		if alone {
			offer = []protocol.ID{libp2ptls.ID}
		}
		chosen, err = multistream.SelectOneOf(offer, raw)
	} else {
		chosen, _, err = s.accept.Negotiate(raw)
	}
	if err != nil {
		return nil, envelope.Key{}, fmt.Errorf("agree on encryption: %w", err)
	}
	var conn net.Conn
	var pub crypto.PubKey
	if chosen == libp2ptls.ID {
		conn, pub, err = s.overTLS(ctx, raw, id, alone)
	} else {
		conn, pub, err = s.overNoise(ctx, raw, id)
	}
	if err != nil {
		var mismatch sec.ErrPeerIDMismatch
		if errors.As(err, &mismatch) {
			return nil, envelope.Key{}, fmt.Errorf("%w: %s", ErrWrongKey, mismatch.Actual)
		}
		return nil, envelope.Key{}, fmt.Errorf("prove keys: %w", err)
	}
	key, err := keyOf(pub)
	if err != nil {
		return nil, envelope.Key{}, err
	}
	if c, ok := conn.(*tls.Conn); ok && c.ConnectionState().NegotiatedProtocol == directALPN {
		return newDirect(c, raw, want == nil), key, nil
	}
	mux, err := s.muxer.NewConn(sealed{conn, raw}, want == nil, nil)
	if err != nil {
		return nil, envelope.Key{}, fmt.Errorf("start the muxer: %w", err)
	}
	return mux, key, nil
}

// errMuxer is a peer that does not choose yamux inside the handshake.
var errMuxer = errors.New("the peer does not speak " + yamux.ID)

// declined reports whether err, of upgrade, is a peer's that answered, and would not have
// what it was offered. Whoever does not answer will not have anything else either.
func declined(err error) bool {
	var none multistream.ErrNotSupported[protocol.ID]
	var alert *net.OpError
	return errors.As(err, &none) || errors.Is(err, errMuxer) || errors.As(err, &alert) && alert.Op == "remote error"
}

func (s *security) overTLS(ctx context.Context, raw *pulse, want peer.ID, alone bool) (net.Conn, crypto.PubKey, error) {
	config, keys := s.tls.ConfigForPeer(want)
	var conn *tls.Conn
	switch {
	case want == "":
		config.NextProtos = s.carry
		conn = tls.Server(raw, config)
	case alone:
		config.NextProtos = []string{directALPN}
		conn = tls.Client(raw, config)
	default:
		config.NextProtos = []string{yamux.ID}
		conn = tls.Client(raw, config)
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	if conn.ConnectionState().NegotiatedProtocol == "" {
		return nil, nil, errMuxer
	}
	select {
	case pub := <-keys:
		return conn, pub, nil
	default:
		return nil, nil, errors.New("the handshake brought no key")
	}
}

func (s *security) overNoise(ctx context.Context, raw *pulse, want peer.ID) (net.Conn, crypto.PubKey, error) {
	secure := s.noise.SecureInbound
	if want != "" {
		secure = s.noise.SecureOutbound
	}
	conn, err := secure(ctx, raw, want)
	if err != nil {
		return nil, nil, err
	}
	if conn.ConnState().StreamMultiplexer != yamux.ID {
		return nil, nil, errMuxer
	}
	return conn, conn.RemotePublicKey(), nil
}

// peerID is the libp2p name of key.
func peerID(key envelope.Key) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key[:])
	if err != nil {
		return "", fmt.Errorf("key %s: %w", key.Short(), err)
	}
	return peer.IDFromPublicKey(pub)
}

// keyOf is the inverse for a key that was proved. Only ed25519 is a robot's.
func keyOf(pub crypto.PubKey) (envelope.Key, error) {
	raw, err := pub.Raw()
	if err != nil || pub.Type() != crypto.Ed25519 || len(raw) != len(envelope.Key{}) {
		return envelope.Key{}, fmt.Errorf("the peer has a key of type %s, want ed25519", pub.Type())
	}
	return envelope.Key(raw), nil
}

// PeerString is the libp2p peer id of key ("12D3Koo..."), for people.
func PeerString(key envelope.Key) string {
	id, err := peerID(key)
	if err != nil {
		return key.String()
	}
	return id.String()
}
