package delta

import (
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

const (
	// NoticeFormat is the newest notice format this build reads and writes.
	NoticeFormat = 1
	// PackFile is the one file of the image that a pack travels as.
	PackFile = "pack"
)

// A Notice says that there is a pack between two images, and where. It is signed by
// role plan in an envelope of kind Delta, and counts wherever the trust root does.
type Notice struct {
	Format uint `cbor:"0,keyasint"`
	// From and To are the manifests of the images.
	From manifest.Digest `cbor:"1,keyasint"`
	To   manifest.Digest `cbor:"2,keyasint"`
	// Pack is the manifest of the pack, and Bytes the length of its one file.
	Pack  manifest.Digest `cbor:"3,keyasint"`
	Bytes uint64          `cbor:"4,keyasint"`
	// Covers is how many bytes of the new image it makes, and Wire what they would
	// take on the wire as chunks: more than Bytes, or there would be no pack.
	Covers uint64 `cbor:"5,keyasint"`
	Wire   uint64 `cbor:"6,keyasint"`
}

// Name is what a notice between two images is asked for by: a robot knows these two,
// and not yet what it says.
func Name(from, to manifest.Digest) manifest.Digest {
	return manifest.Sum(append(append([]byte("starling/delta/1\x00"), from[:]...), to[:]...))
}

// NewNotice is the notice of a pack with these stats, whose manifest is named pack.
func NewNotice(x *Index, pack manifest.Digest, s Stats) *Notice {
	return &Notice{
		Format: NoticeFormat, From: x.From, To: x.To, Pack: pack, Bytes: uint64(s.Pack), Covers: uint64(s.Covered), Wire: uint64(s.Saved),
	}
}

// Seal signs the notice for all swarms of a trust root.
func (n *Notice) Seal(root manifest.Digest, key ed25519.PrivateKey) *envelope.Envelope {
	return envelope.New(envelope.Delta, NoticeFormat, envelope.TrustScope(root), n).Sign(key)
}

// check reports why n cannot be true.
func (n *Notice) check() error {
	if n.From.IsZero() || n.To.IsZero() || n.From == n.To || n.Pack.IsZero() {
		return bad("a notice of pack %s from %s to %s", n.Pack.Short(), n.From.Short(), n.To.Short())
	}
	if n.Bytes == 0 || n.Bytes >= n.Wire || n.Wire > n.Covers {
		return bad("a notice of %d bytes in place of %d, which hold %d", n.Bytes, n.Wire, n.Covers)
	}
	return nil
}

// open parses a sealed notice. Nothing is verified.
func open(data []byte) (*Notice, *envelope.Envelope, error) {
	e, err := envelope.Decode(data, envelope.Delta)
	if err != nil {
		return nil, nil, err
	}
	var n Notice
	if err := e.Open(NoticeFormat, &n); err != nil {
		return nil, nil, err
	}
	return &n, e, n.check()
}

// NameOf is the Name of a sealed notice, of which nothing is verified.
func NameOf(data []byte) (manifest.Digest, error) {
	n, _, err := open(data)
	if err != nil {
		return manifest.Digest{}, err
	}
	return Name(n.From, n.To), nil
}

// OpenNotice returns a sealed notice if keys have signed it for this trust root and it
// is about these two images. Errors are those of package envelope, ErrBad or ErrOther.
func OpenNotice(data []byte, root manifest.Digest, keys envelope.Keys, from, to manifest.Digest) (*Notice, error) {
	n, e, err := open(data)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(envelope.TrustScope(root), keys); err != nil {
		return nil, err
	}
	if n.From != from || n.To != to {
		return nil, fmt.Errorf("%w: from %s to %s", ErrOther, n.From.Short(), n.To.Short())
	}
	return n, nil
}

// OpenNoticeOf is OpenNotice for whoever does not know the images, but which release the
// pack is to lead to: from whatever image to one of the release.
func OpenNoticeOf(data []byte, root manifest.Digest, keys envelope.Keys, rel *manifest.Release) (*Notice, error) {
	n, _, err := open(data)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rel.Variants, func(v manifest.Variant) bool { return v.Manifest == n.To }) {
		return nil, fmt.Errorf("%w: to %s, which is not of %s", ErrOther, n.To.Short(), rel.Describe())
	}
	return OpenNotice(data, root, keys, n.From, n.To)
}

// Worth reports whether fetching the pack takes less than the chunks that are missing,
// of which there are so many bytes.
func (n *Notice) Worth(missing int64) bool {
	wire := float64(min(uint64(missing), n.Covers)) / float64(n.Covers) * float64(n.Wire)
	return float64(n.Bytes)*1000 <= wire*WorthPermille
}

// Fits reports whether m is the manifest of the pack, and lists what a pack is: one file
// of the right length. The error is ErrOther or ErrBad.
func (n *Notice) Fits(m *manifest.Manifest) error {
	if got := m.Digest(); got != n.Pack {
		return fmt.Errorf("%w: it is %s, and the notice is of %s", ErrOther, got.Short(), n.Pack.Short())
	}
	if len(m.Entries) != 1 || m.Entries[0].Kind != manifest.File || m.Entries[0].Path != PackFile || m.Entries[0].Bytes != n.Bytes {
		return bad("image %s is not one file of %d bytes", n.Pack.Short(), n.Bytes)
	}
	return nil
}
