package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/join"
)

// ErrNoDocument is returned for a document that is not here. Ask another member.
var ErrNoDocument = errors.New("node: document not here")

// docGrace keeps a document that was just put from being the oldest.
const docGrace = time.Minute

// maxDocs bounds the documents kept of one kind; the oldest go first. Releases and
// manifests are those that images here and stepping stones need.
func maxDocs(k join.DocumentKind) int {
	switch k {
	case join.ReleaseDocument, join.ManifestDocument, join.ProvenanceDocument:
		return 1024
	case join.TrustDocument, join.RosterDocument:
		return 8
	}
	return 64
}

// docs keeps small documents by digest, for this node and for others who ask: a
// file each, in a folder per kind. They prove themselves, so nothing is trusted
// for lying here; whoever uses one verifies it.
type docs struct{ dir string }

func (d docs) file(k join.DocumentKind, g manifest.Digest) string {
	return filepath.Join(d.dir, string(k), g.String())
}

// put keeps a document and returns its digest.
func (d docs) put(k join.DocumentKind, data []byte) (manifest.Digest, error) {
	g, err := k.Digest(data)
	if err != nil {
		return g, err
	}
	if len(data) > k.Limit() {
		return g, fmt.Errorf("keep a %s of %d bytes: the limit is %d", k, len(data), k.Limit())
	}
	path := d.file(k, g)
	if _, err := os.Lstat(path); err == nil {
		return g, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return g, fmt.Errorf("keep a %s: %w", k, err)
	}
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return g, err
	}
	return g, d.trim(k)
}

// replace keeps a document in place of another that goes by the same digest: a notice
// goes by what it is about.
func (d docs) replace(k join.DocumentKind, data []byte) error {
	g, err := k.Digest(data)
	if err != nil {
		return err
	}
	if err := os.Remove(d.file(k, g)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace a %s: %w", k, err)
	}
	_, err = d.put(k, data)
	return err
}

// get returns a document, whose digest is checked again: a disk may lie.
func (d docs) get(k join.DocumentKind, g manifest.Digest) ([]byte, error) {
	data, err := os.ReadFile(d.file(k, g))
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s", ErrNoDocument, k, g.Short())
	}
	if got, err := k.Digest(data); err != nil || got != g {
		if err := os.Remove(d.file(k, g)); err != nil {
			return nil, fmt.Errorf("drop a damaged %s: %w", k, err)
		}
		return nil, fmt.Errorf("%w: %s %s was damaged on disk", ErrNoDocument, k, g.Short())
	}
	return data, nil
}

// all lists the documents of a kind, in the order of their digests.
func (d docs) all(k join.DocumentKind) ([]manifest.Digest, error) {
	entries, err := os.ReadDir(filepath.Join(d.dir, string(k)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // none was ever put
	}
	if err != nil {
		return nil, fmt.Errorf("list each %s: %w", k, err)
	}
	var out []manifest.Digest
	for _, e := range entries {
		if g, err := manifest.ParseDigest(e.Name()); err == nil { // else a file half written
			out = append(out, g)
		}
	}
	return out, nil
}

// trim drops the oldest documents of a kind above its bound.
func (d docs) trim(k join.DocumentKind) error {
	entries, err := os.ReadDir(filepath.Join(d.dir, string(k)))
	if err != nil || len(entries) <= maxDocs(k) {
		return err
	}
	type aged struct {
		path string
		at   time.Time
	}
	var all []aged
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > docGrace {
			all = append(all, aged{filepath.Join(d.dir, string(k), e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return a.at.Compare(b.at) })
	var errs []error
	for i := 0; i < min(len(all), len(entries)-maxDocs(k)); i++ {
		errs = append(errs, os.Remove(all[i].path))
	}
	return errors.Join(errs...)
}
