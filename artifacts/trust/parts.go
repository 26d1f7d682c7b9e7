package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

type (
	rootMeta      = metadata.Metadata[metadata.RootType]
	timestampMeta = metadata.Metadata[metadata.TimestampType]
	snapshotMeta  = metadata.Metadata[metadata.SnapshotType]
	targetsMeta   = metadata.Metadata[metadata.TargetsType]
)

const (
	snapshotFile = metadata.SNAPSHOT + ".json"
	targetsFile  = metadata.TARGETS + ".json"
	// signedAtField is the signed field that says when a document was signed: TUF
	// has only the time of expiry, and a robot with a bad clock needs both.
	signedAtField = "x-starling-signed-at"
)

// parts is a bundle taken apart: well-formed, not verified. timestamp and
// snapshot are nil in a draft of the first version.
type parts struct {
	roots     []*rootMeta // roots[i] is version i+1
	timestamp *timestampMeta
	snapshot  *snapshotMeta
	targets   *targetsMeta
}

// root is the newest root.
func (p *parts) root() *rootMeta { return p.roots[len(p.roots)-1] }

// takeApart parses b. A draft that has no timestamp and snapshot yet is ErrUnsigned unless
// draft is true.
func takeApart(b *Bundle, draft bool) (*parts, error) {
	if b.Format != Format || len(b.Roots) == 0 || len(b.Roots) > MaxRoots {
		return nil, fmt.Errorf("%w: bundle of format %d with %d roots", ErrMalformed, b.Format, len(b.Roots))
	}
	p := &parts{}
	for i, data := range b.Roots {
		r, err := parse[metadata.RootType](fmt.Sprintf("root %d", i+1), data)
		if err != nil {
			return nil, err
		}
		if err := checkRoot(r, int64(i+1)); err != nil {
			return nil, err
		}
		p.roots = append(p.roots, r)
	}
	var err error
	if p.targets, err = parse[metadata.TargetsType](metadata.TARGETS, b.Targets); err != nil {
		return nil, err
	}
	if err := checkTargets(p.targets); err != nil {
		return nil, err
	}
	if len(b.Timestamp) == 0 && len(b.Snapshot) == 0 {
		if draft {
			return p, nil
		}
		return nil, fmt.Errorf("%w: a draft without timestamp and snapshot: finish it with CoSign or Renew", ErrUnsigned)
	}
	if p.timestamp, err = parse[metadata.TimestampType](metadata.TIMESTAMP, b.Timestamp); err != nil {
		return nil, err
	}
	if p.snapshot, err = parse[metadata.SnapshotType](metadata.SNAPSHOT, b.Snapshot); err != nil {
		return nil, err
	}
	return p, errors.Join(
		checkPin(metadata.TIMESTAMP, p.timestamp.Signed.Version, p.timestamp.Signed.Meta, snapshotFile),
		checkPin(metadata.SNAPSHOT, p.snapshot.Signed.Version, p.snapshot.Signed.Meta, targetsFile))
}

// bundle is the inverse of takeApart.
func (p *parts) bundle() (*Bundle, error) {
	b := &Bundle{Format: Format}
	for _, r := range p.roots {
		data, err := r.ToBytes(false)
		if err != nil {
			return nil, fmt.Errorf("encode root: %w", err)
		}
		b.Roots = append(b.Roots, data)
	}
	var errs [3]error
	b.Targets, errs[0] = p.targets.ToBytes(false)
	if p.timestamp != nil {
		b.Timestamp, errs[1] = p.timestamp.ToBytes(false)
		b.Snapshot, errs[2] = p.snapshot.ToBytes(false)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	if n := len(b.Encode()); n > MaxBundleBytes {
		return nil, fmt.Errorf("%w: a bundle of %d bytes, the limit is %d", ErrInvalid, n, MaxBundleBytes)
	}
	return b, nil
}

// parse reads one document. It accepts only the bytes that go-tuf itself would
// write, so that a document has one spelling, and nothing beside what is signed
// and the signatures.
func parse[T metadata.Roles](what string, data []byte) (*metadata.Metadata[T], error) {
	if err := refuseNull(data); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	m := &metadata.Metadata[T]{}
	err := guard(what, func() error {
		if _, err := m.FromBytes(data); err != nil {
			return err
		}
		again, err := m.ToBytes(false)
		if err == nil && !bytes.Equal(again, data) {
			err = errors.New("not the one spelling")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(m.UnrecognizedFields) > 0 || len(m.Signatures) > 2*MaxKeys {
		return nil, fmt.Errorf("%w: %s: %d unsigned fields, %d signatures", ErrMalformed, what, len(m.UnrecognizedFields), len(m.Signatures))
	}
	for _, s := range m.Signatures {
		if len(s.UnrecognizedFields) > 0 {
			return nil, fmt.Errorf("%w: %s: unsigned fields in a signature", ErrMalformed, what)
		}
	}
	_, err = signedAt(m)
	return m, err
}

// guard runs f, which calls go-tuf on bytes from outside. Every error, also from
// a panic, wraps ErrMalformed.
func guard(what string, f func() error) error {
	if err := catch(f); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	return nil
}

// catch runs f and makes a panic in it an error.
func catch(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-tuf panicked: %v", p)
		}
	}()
	return f()
}

// refuseNull walks the JSON tokens of data: go-tuf v2.4.2 follows a null role,
// key or target as a pointer.
func refuseNull(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		switch tok, err := d.Token(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case tok == nil:
			return fmt.Errorf("null at byte %d", d.InputOffset())
		}
	}
}

// payload returns the bytes that signatures on m cover.
func payload[T metadata.Roles](m *metadata.Metadata[T]) ([]byte, error) {
	var out []byte
	err := guard("signed part", func() (err error) {
		out, err = cjson.EncodeCanonical(m.Signed)
		return err
	})
	return out, err
}

// sameSigned reports whether a and b say the same, whoever signed them.
func sameSigned[T metadata.Roles](a, b *metadata.Metadata[T]) bool {
	x, errX := payload(a)
	y, errY := payload(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// stamps returns the extra signed fields and the time of expiry of m.
func stamps[T metadata.Roles](m *metadata.Metadata[T]) (map[string]any, time.Time) {
	switch s := any(&m.Signed).(type) {
	case *metadata.RootType:
		return s.UnrecognizedFields, s.Expires
	case *metadata.TimestampType:
		return s.UnrecognizedFields, s.Expires
	case *metadata.SnapshotType:
		return s.UnrecognizedFields, s.Expires
	case *metadata.TargetsType:
		return s.UnrecognizedFields, s.Expires
	}
	panic("trust: a kind of metadata that TUF does not have")
}

// signedAt returns when m says it was signed, zero if it does not say. A
// document signed after its own expiry is malformed: it could only have been
// made to push time forward.
func signedAt[T metadata.Roles](m *metadata.Metadata[T]) (time.Time, error) {
	fields, expires := stamps(m)
	v, ok := fields[signedAtField]
	if !ok {
		return time.Time{}, nil
	}
	s, _ := v.(string)
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || at.After(expires) {
		return time.Time{}, fmt.Errorf("%w: %s is %v, expiry %s", ErrMalformed, signedAtField, v, expires.Format(time.RFC3339))
	}
	return at.UTC(), nil
}

// checkRoot says what makes r unusable as root number version.
func checkRoot(r *rootMeta, version int64) error {
	if r.Signed.Version != version {
		return fmt.Errorf("%w: root %d stands where root %d belongs", ErrMalformed, r.Signed.Version, version)
	}
	for id, k := range r.Signed.Keys {
		if _, err := publicKey(k); err != nil {
			return fmt.Errorf("%w: root %d: key %.8s: %v", ErrMalformed, version, id, err)
		}
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		role := r.Signed.Roles[name]
		if role == nil {
			return fmt.Errorf("%w: root %d has no role %s", ErrMalformed, version, name)
		}
		keys, err := holders(r.Signed.Keys, role.KeyIDs)
		if err != nil {
			return fmt.Errorf("%w: root %d: role %s: %v", ErrMalformed, version, name, err)
		}
		if role.Threshold < 1 || role.Threshold > len(keys) {
			return fmt.Errorf("%w: root %d: role %s wants %d signatures of %d keys", ErrMalformed, version, name, role.Threshold, len(keys))
		}
	}
	return nil
}

// checkPin says what is wrong with a document that must bind file by hash.
func checkPin(what string, version int64, meta map[string]*metadata.MetaFiles, file string) error {
	f := meta[file]
	if version < 1 || f == nil || f.Version < 1 || len(f.Hashes["sha256"]) != manifest.DigestBytes {
		return fmt.Errorf("%w: %s does not bind %s by version and sha256", ErrMalformed, what, file)
	}
	return nil
}

func checkTargets(t *targetsMeta) error {
	if t.Signed.Version < 1 {
		return fmt.Errorf("%w: targets of version %d", ErrMalformed, t.Signed.Version)
	}
	if _, err := delegated(t); err != nil {
		return err
	}
	_, err := listed(t)
	return err
}

// listed returns the releases that t lists, sorted by component, then counter.
// Targets without our custom fields are somebody else's and are passed over;
// those that contradict themselves or each other are refused.
func listed(t *targetsMeta) ([]Listed, error) {
	var out []Listed
	for path, f := range t.Signed.Targets {
		c, ok := customOf(f)
		if !ok {
			continue
		}
		component, version, _ := strings.Cut(path, "/")
		if c.Component != component || c.Version != version || !manifest.ValidName(component) || !manifest.ValidVersion(version) ||
			c.Counter == 0 || len(f.Hashes["sha256"]) != manifest.DigestBytes || f.Length < 1 || f.Length > manifest.MaxReleaseBytes {
			return nil, fmt.Errorf("%w: target %q contradicts itself", ErrMalformed, path)
		}
		ref := manifest.Ref{Version: version, Counter: c.Counter, Digest: manifest.Digest(f.Hashes["sha256"])}
		out = append(out, Listed{Ref: ref, Component: component, Bytes: f.Length})
	}
	slices.SortFunc(out, byCounter)
	for i := 1; i < len(out); i++ {
		if byCounter(out[i-1], out[i]) == 0 {
			return nil, fmt.Errorf("%w: %s %s and %s have one counter", ErrMalformed, out[i].Component, out[i-1].Ref.Version, out[i].Ref.Version)
		}
	}
	return out, nil
}

// custom is what targets say of a release beside its length and hash.
type custom struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Counter   uint64 `json:"counter"`
}

// customOf returns the custom fields of f, and whether it is a release at all.
func customOf(f *metadata.TargetFiles) (custom, bool) {
	var c custom
	if f.Custom == nil || json.Unmarshal(*f.Custom, &c) != nil || c.Component == "" {
		return custom{}, false
	}
	return c, true
}
