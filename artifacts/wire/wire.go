// Package wire is the transfer protocol's frames.
//
// A stream of Protocol carries one image one way. The robot that fetches opens it
// and says Hello: which image, which pieces it has. The robot that serves answers
// with its own Hello, and tells of further pieces with Have, and with Lost of pieces
// that turned out damaged. The fetcher tells the same to a seed, which counts
// copies; others hear from it only what they have sent it, for then it is the turn of the
// next. The fetcher sends Ask for a piece and gets its
// missing chunks as Data. Each Ask is ended by exactly one Sent or Refuse; Cancel
// asks for the end to come soon. A piece is not asked for again before its end. A
// seed sends Offer: "this piece is yours to ask for". Who fetches from across a cut
// that has healed says so to its own side with Soon: "wait, and ask me".
//
// A frame is a length (4 bytes, big-endian, of what follows), a type (1 byte) and
// a body: deterministic CBOR, or for Data a short header and the chunk's bytes.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// Protocol is the stream protocol; the number rises when frames change.
	Protocol = "/starling/exchange/1"
	// Format is the format of Hello.
	Format = 1

	dataHead = 5 // chunk (4 bytes) and encoding (1 byte)
	// MaxFrameBytes bounds a frame's type and body: a chunk that did not compress.
	MaxFrameBytes = 1 + dataHead + manifest.MaxChunkBytes
	// MaxBitmapBytes bounds a bitmap of pieces or of a piece's chunks: what the
	// largest image needs.
	MaxBitmapBytes = max(manifest.MaxPieces, manifest.MaxPieceChunks) / 8
	maxSmallBytes  = MaxBitmapBytes + 128
	// MaxHave bounds the pieces in one Have, Soon or Lost.
	MaxHave = 256
)

// ErrFrame is wrapped by every complaint about a frame: the other side does not
// speak the protocol; close the stream.
var ErrFrame = errors.New("wire: bad frame")

// A Frame is one of Hello, Have, Soon, Offer, Ask, Data, Sent, Refuse, Lost and Cancel.
type Frame interface{ frameType() byte }

// Hello opens each direction of a stream.
type Hello struct {
	Format   uint            `cbor:"0,keyasint"`
	Manifest manifest.Digest `cbor:"1,keyasint"`
	Have     manifest.Bitmap `cbor:"2,keyasint"` // pieces verified
	Seed     bool            `cbor:"3,keyasint"` // offers: ask only for what is offered, unless starving
}

// Have announces further pieces, verified and written.
type Have struct {
	_      struct{} `cbor:",toarray"`
	Pieces []uint32
}

// Soon announces pieces that are on their way here from across a cut. Have or Lost
// follows.
type Soon struct {
	_      struct{} `cbor:",toarray"`
	Pieces []uint32
}

// Lost takes back what Hello, Have, Soon or Offer said: these pieces are not here.
type Lost struct {
	_      struct{} `cbor:",toarray"`
	Pieces []uint32
}

// Offer tells the fetcher that the seed means it to ask for the piece.
type Offer struct {
	_     struct{} `cbor:",toarray"`
	Piece uint32
}

// Ask wants the chunks of a piece that are in Chunks (bit i is the piece's i-th).
type Ask struct {
	_      struct{} `cbor:",toarray"`
	Piece  uint32
	Chunks manifest.Bitmap
}

// Cancel ends the wish for a piece that was asked for: the server stops soon, with
// Refuse, or with Sent if all was on its way already. A Cancel that comes after
// the end is ignored; so is one with Waiting if some of the piece is on its way.
type Cancel struct {
	_       struct{} `cbor:",toarray"`
	Piece   uint32
	Waiting bool // only if the piece still waits for its turn
}

// Sent ends the data of an asked piece: all chunks that were asked for came.
type Sent struct {
	_     struct{} `cbor:",toarray"`
	Piece uint32
}

// Refuse ends an Ask too: no (more) chunks of the piece will come, for it is not
// here, or it was canceled.
type Refuse struct {
	_     struct{} `cbor:",toarray"`
	Piece uint32
}

// Encoding says how the bytes of a Data frame are encoded.
type Encoding byte

// The encodings.
const (
	Raw  Encoding = 0
	Zstd Encoding = 1
)

// Data carries one chunk, by its index in the manifest.
type Data struct {
	Chunk    uint32
	Encoding Encoding
	Bytes    []byte
}

func (Hello) frameType() byte  { return 1 }
func (Have) frameType() byte   { return 2 }
func (Offer) frameType() byte  { return 3 }
func (Ask) frameType() byte    { return 4 }
func (Data) frameType() byte   { return 5 }
func (Sent) frameType() byte   { return 6 }
func (Refuse) frameType() byte { return 7 }
func (Lost) frameType() byte   { return 8 }
func (Cancel) frameType() byte { return 9 }
func (Soon) frameType() byte   { return 10 }

// Write sends one frame.
func Write(w io.Writer, f Frame) error {
	if d, ok := f.(Data); ok {
		return writeData(w, d)
	}
	body := canonical.Encode(f)
	b := make([]byte, 5, 5+len(body))
	binary.BigEndian.PutUint32(b, uint32(1+len(body)))
	b[4] = f.frameType()
	_, err := w.Write(append(b, body...))
	return err
}

// writeData sends the head and the bytes in two writes, which spares a copy of the
// chunk; a buffered writer joins them.
func writeData(w io.Writer, d Data) error {
	var head [5 + dataHead]byte
	binary.BigEndian.PutUint32(head[:], uint32(1+dataHead+len(d.Bytes)))
	head[4] = d.frameType()
	binary.BigEndian.PutUint32(head[5:], d.Chunk)
	head[9] = byte(d.Encoding)
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(d.Bytes)
	return err
}

// A Reader reads frames. The bytes of a Data are valid until the next Read.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader reads from r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read returns the next frame. Errors are those of the underlying reader, io.EOF
// only between frames, or wrap ErrFrame.
func (r *Reader) Read() (Frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	limit := uint32(maxSmallBytes)
	if head[4] == (Data{}).frameType() {
		limit = MaxFrameBytes
	}
	if n == 0 || n > limit {
		return nil, fmt.Errorf("%w: type %d of %d bytes", ErrFrame, head[4], n)
	}
	if cap(r.buf) < int(n-1) {
		r.buf = make([]byte, n-1)
	}
	body := r.buf[:n-1]
	if _, err := io.ReadFull(r.r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return parse(head[4], body)
}

// parse decodes the body of a frame of type t.
func parse(t byte, body []byte) (Frame, error) {
	switch t {
	case 1:
		var f Hello
		err := canonical.DecodeFormat(body, maxSmallBytes, "hello", Format, &f)
		return checked(f, err, len(f.Have) <= MaxBitmapBytes)
	case 2:
		var f Have
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, len(f.Pieces) <= MaxHave)
	case 3:
		var f Offer
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, true)
	case 4:
		var f Ask
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, len(f.Chunks) <= MaxBitmapBytes)
	case 5:
		if len(body) <= dataHead || body[4] > byte(Zstd) {
			return nil, fmt.Errorf("%w: data of %d bytes", ErrFrame, len(body))
		}
		return Data{Chunk: binary.BigEndian.Uint32(body), Encoding: Encoding(body[4]), Bytes: body[dataHead:]}, nil
	case 6:
		var f Sent
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, true)
	case 7:
		var f Refuse
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, true)
	case 8:
		var f Lost
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, len(f.Pieces) <= MaxHave)
	case 9:
		var f Cancel
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, true)
	case 10:
		var f Soon
		err := canonical.Decode(body, maxSmallBytes, &f)
		return checked(f, err, len(f.Pieces) <= MaxHave)
	}
	return nil, fmt.Errorf("%w: unknown type %d", ErrFrame, t)
}

// checked returns f if it decoded and is within its bounds.
func checked(f Frame, err error, ok bool) (Frame, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrFrame, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w: %T is too long", ErrFrame, f)
	}
	return f, nil
}
