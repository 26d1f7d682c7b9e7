// Package artifacts moves images from robot to robot.
//
// An Exchange serves the images that this node holds and fetches those that it
// lacks, from all members at once: which piece of whom is the business of
// package schedule, the frames are package wire's, the bytes lie in a Store.
// What arrives is verified before it is written, and written before it is
// announced, so no wrong byte is ever passed on; whoever sends wrong bytes is
// named and left out. An operator's node seeds: it offers each piece once before
// it repeats any, and says when it is safe to leave.
package artifacts

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/artifacts/schedule"
	"github.com/starling-swarm/starling/artifacts/wire"
)

// Protocol is the stream protocol to hand to Exchange.Serve; see package wire.
const Protocol = wire.Protocol

// A Store is one image, partly here. It is safe for concurrent use, and stores can
// be compared with ==.
type Store interface {
	Manifest() *manifest.Manifest
	Digest() manifest.Digest
	// Have returns the verified pieces, indexed as Manifest.Pieces.
	Have() manifest.Bitmap
	HasChunk(n int) bool
	// WriteRun verifies and writes chunks that follow each other, first and so on, of
	// which data is the bytes. It returns how many are held now; that the bytes of the
	// one after these are wrong is an error wrapping manifest.ErrDigest.
	WriteRun(first int, data []byte) (held int, err error)
	// ReadChunk returns verified bytes, in buf if it is large enough.
	ReadChunk(n int, buf []byte) ([]byte, error)
	// ReadRun returns those of the chunks first to end-1, or an error if any is not
	// right.
	ReadRun(first, end int, buf []byte) ([]byte, error)
	// Flush makes all that was written survive a power cut.
	Flush() error
}

// A Stream is an open stream to a member whose key is proven.
type Stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Reset ends the stream at once, in both directions.
	Reset() error
}

// Peers are the other members.
type Peers interface {
	// Open opens a stream of Protocol to a member.
	Open(ctx context.Context, to envelope.Key) (Stream, error)
	// Candidates lists members that may hold an image: seeds first, the others in
	// a new random order each time. Members that listed them alike would all
	// fetch from the same MaxSessions, and the uplinks of the rest would idle.
	Candidates() []envelope.Key
}

// Config is what an Exchange is made of.
type Config struct {
	Peers Peers
	// Self is this node's key, as the others know it. Members that have been cut off
	// together share out by their keys what comes across when the cut heals; with
	// zero, more of it crosses twice.
	Self envelope.Key
	// Seed makes this node offer its images instead of answering whoever asks
	// first: for an operator's node.
	Seed bool
	// UploadBytesPerSec and DownloadBytesPerSec limit what is sent and what is taken
	// in; zero is no limit. Besides the rate, a quarter of a second of it, but no
	// less than 32 KiB, may go at once. PeerBytesPerSec limits what is sent to any one
	// member. SetLimits changes them.
	UploadBytesPerSec, DownloadBytesPerSec, PeerBytesPerSec int64
	// ControlBytesPerSec limits what Wait lets go as talk, and control beside it.
	ControlBytesPerSec int64
	// Look is asked about once a second, while images are sent, how the members fare;
	// what is sent is slowed by it. It must not block. Nil slows nothing.
	Look func() pace.Look
	// Retry is how long to wait before a member that had nothing is tried again,
	// and how often Candidates are looked at; zero is DefaultRetry. A member that
	// could not be reached waits longer each time, up to 16 times as long. If it is
	// longer than DefaultRetry, links are slow, and a seed is asked for what it did not
	// offer only after twice as long. A seed that hears nothing for so long, or for
	// schedule.Starve if that is less, offers again what nobody passes on.
	Retry time.Duration
	// Events takes what happens; it must not block. Nil discards.
	Events func(Event)
	// Log takes the same for people, and why streams ended. Nil discards.
	Log *slog.Logger
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Peers == nil {
		errs = append(errs, errors.New("artifacts: an exchange needs Peers"))
	}
	if c.UploadBytesPerSec < 0 || c.DownloadBytesPerSec < 0 || c.PeerBytesPerSec < 0 || c.ControlBytesPerSec < 0 || c.Retry < 0 {
		errs = append(errs, errors.New("artifacts: rates and Retry cannot be negative; zero is the default"))
	}
	return errors.Join(errs...)
}

const (
	// DefaultRetry suits links of some 10 ms.
	DefaultRetry = 2 * time.Second
	// MaxSessions bounds the members that one image is fetched from at a time: some
	// log2 of the largest swarm is enough (reference: Abeni et al. 2009). When none
	// of them can help, one has to make room for another.
	MaxSessions = 10
	// minStay is how many times Retry a session stays at least, though its peer cannot
	// help yet: when a whole swarm waits for the same pieces, other peers cannot either.
	minStay = 4
	// maxOpening bounds those of them that have not answered yet. A connection needs
	// some 10 KB and 20 packets before the first useful one: a whole swarm that opens
	// all its connections at once chokes the radio it shares, and then tries again.
	maxOpening = 2
	// MaxServed bounds the streams served at a time, and MaxServedPerPeer those of
	// one member; further ones are reset, and come again later.
	MaxServed        = 64
	MaxServedPerPeer = 4

	// silence is how long a stream may be still, while it owes us something, before
	// it counts as broken; helloTimeout is that for its first frame.
	silence      = time.Minute
	helloTimeout = 15 * time.Second
	// farewell bounds what a complete fetch spends on telling the others so.
	farewell = 2 * time.Second
)

// errProtocol is wrapped by complaints about what the other side says: the stream
// is reset, and a sender is struck.
var errProtocol = errors.New("artifacts: the peer does not keep to the protocol")

// An Event is something worth telling: see the types below.
type Event interface{ event() }

// ChunkRejected says that From sent wrong bytes for a chunk. Out says that it has
// done so often enough to be left out of this fetch.
type ChunkRejected struct {
	Image manifest.Digest
	Chunk int
	From  envelope.Key
	Out   bool
}

// PieceVerified says that a piece is here now. From is who sent the end of it, or
// zero if that was several.
type PieceVerified struct {
	Image manifest.Digest
	Piece int
	From  envelope.Key
}

// SafeToLeave says that a seed may leave: every piece is held by enough others. It
// comes again if that ceased to be so and is so again.
type SafeToLeave struct{ Image manifest.Digest }

func (ChunkRejected) event() {}
func (PieceVerified) event() {}
func (SafeToLeave) event()   {}

// An Exchange serves and fetches. Make it with New, hand incoming streams to
// Serve. It is safe for concurrent use.
type Exchange struct {
	cfg   Config
	shape *shaper // of what is sent
	down  *shaper // of what is taken in; its Limits.Up
	codec *codec
	turns turns
	rates rates
	// senders and fetchers are members that were left out lately, for what they sent
	// or for how they asked.
	senders, fetchers outcasts

	mu      sync.Mutex // guards the fields below
	images  map[manifest.Digest]*shared
	served  int                  // streams being served; <= MaxServed
	perPeer map[envelope.Key]int // the same by member; <= MaxServedPerPeer
	takers  []*server            // those of them that have said which image, oldest first
}

// New checks cfg. It starts nothing: Serve and Fetch run in their callers' goroutines.
func New(cfg Config) (*Exchange, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRetry
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &Exchange{
		cfg: cfg, shape: newShaper(cfg.Look, Limits{Up: cfg.UploadBytesPerSec, Peer: cfg.PeerBytesPerSec, Control: cfg.ControlBytesPerSec}), down: newShaper(nil, Limits{Up: cfg.DownloadBytesPerSec}), codec: c,
		images: map[manifest.Digest]*shared{}, perPeer: map[envelope.Key]int{},
	}, nil
}

// Hold serves an image until the returned function is called; streams that are
// under way end then, unless somebody else holds the image too. Several stores of
// one image, two slots say, are served as one: what any of them has.
func (x *Exchange) Hold(s Store) (release func()) {
	d := s.Digest()
	x.mu.Lock()
	h := x.images[d]
	if h == nil {
		h = newShared(x, s)
		x.images[d] = h
	}
	h.hold(s)
	x.mu.Unlock()
	h.changed()
	var once sync.Once
	return func() { once.Do(func() { x.release(h, s) }) }
}

func (x *Exchange) release(h *shared, s Store) {
	x.mu.Lock()
	empty := h.release(s)
	if empty {
		delete(x.images, h.digest)
	}
	x.mu.Unlock()
	if empty {
		close(h.gone)
	} else {
		h.changed()
	}
}

// image returns the image with this digest if it is held.
func (x *Exchange) image(d manifest.Digest) *shared {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.images[d]
}

// Stats says how much of an image this node has put on the wire.
type Stats struct {
	SentBytes int64 // of chunks, before compression
	WireBytes int64 // the same as sent
	Bytes     int64 // of the image
	Safe      bool  // a seed may leave
	Takers    int   // members that fetch from here now
}

// Stats returns the figures of a held image; ok is false if it is not held.
func (x *Exchange) Stats(d manifest.Digest) (s Stats, ok bool) {
	h := x.image(d)
	if h == nil {
		return Stats{}, false
	}
	return h.stats(), true
}

// Gone tells the exchange that a member will not come back, so that what it holds
// no longer counts as a copy.
func (x *Exchange) Gone(k envelope.Key) {
	x.mu.Lock()
	all := make([]*shared, 0, len(x.images))
	for _, h := range x.images {
		all = append(all, h)
	}
	x.mu.Unlock()
	for _, h := range all {
		h.offer(func(o *schedule.Offers) { o.Forget(peerOf(k)) })
	}
}

func peerOf(k envelope.Key) schedule.Peer { return schedule.Peer(k[:]) }
