package store

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// The journal is one record, rewritten whole by temporary file, fsync and
// rename: at 2 KiB per GiB of image that is less than a flush costs anyway, and
// there is no half of it to reason about.
//
//	magic   8  "starjrn1"
//	image  32  digest of the manifest
//	sealed  1  0 or 1
//	chunks  4  big endian, how many bits follow
//	held    (chunks+7)/8, bit i of byte i/8, lowest first; spare bits are zero
//	sum    32  SHA-256 of all before it
const (
	journalMagic = "starjrn1"
	journalHead  = len(journalMagic) + manifest.DigestBytes + 1 + 4
)

// errJournal is wrapped by every complaint about a journal's bytes.
var errJournal = errors.New("journal is torn or not a journal")

// A record is what a journal says.
type record struct {
	image  manifest.Digest
	chunks int             // of the manifest
	held   manifest.Bitmap // (chunks+7)/8 bytes
	sealed bool            // then all are held
}

// isFor reports whether r speaks of the image with this digest.
func (r *record) isFor(image manifest.Digest, chunks int) bool {
	return r.image == image && r.chunks == chunks
}

func (r *record) encode() []byte {
	b := make([]byte, 0, journalHead+len(r.held)+manifest.DigestBytes)
	b = append(b, journalMagic...)
	b = append(b, r.image[:]...)
	if r.sealed {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(r.chunks))
	b = append(b, r.held...)
	sum := manifest.Sum(b)
	return append(b, sum[:]...)
}

// decodeRecord is the inverse of encode and takes nothing else.
func decodeRecord(b []byte) (record, error) {
	if len(b) < journalHead+manifest.DigestBytes || !bytes.HasPrefix(b, []byte(journalMagic)) {
		return record{}, errJournal
	}
	body, sum := b[:len(b)-manifest.DigestBytes], b[len(b)-manifest.DigestBytes:]
	if want := manifest.Sum(body); subtle.ConstantTimeCompare(want[:], sum) != 1 {
		return record{}, errJournal
	}
	r := record{image: manifest.Digest(body[len(journalMagic):]), held: manifest.Bitmap(body[journalHead:])}
	r.chunks = int(binary.BigEndian.Uint32(body[journalHead-4:]))
	flag := body[journalHead-5]
	r.sealed = flag == 1
	switch {
	case flag > 1, len(r.held) != (r.chunks+7)/8:
		return record{}, errJournal
	case r.chunks%8 != 0 && r.held[len(r.held)-1]>>(r.chunks%8) != 0:
		return record{}, errJournal
	case r.sealed && r.held.Count() != r.chunks:
		return record{}, errJournal
	}
	return r, nil
}

// loadJournal reads the journal. The error is fs.ErrNotExist if there is none;
// any other means that it cannot be trusted.
func loadJournal(path string) (record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	return decodeRecord(b)
}

// saveJournal replaces the journal; on error the old one is still there.
func (i *Image) saveJournal(r record) error {
	r.chunks = len(i.m.Chunks)
	if err := i.seam.step("journal", i.journal); err != nil {
		return err
	}
	return durable.WriteFile(i.journal, r.encode(), 0o600)
}

// removeJournal removes the journal and what is left of unfinished ones.
func (i *Image) removeJournal() error {
	if err := i.seam.step("unjournal", i.journal); err != nil {
		return err
	}
	if err := os.Remove(i.journal); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget the old journal: %w", err)
	}
	if err := i.sweepJournals(); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(i.journal))
}

// sweepJournals removes temporary files of this journal, which a process that
// died while writing leaves behind: its name between dots, and digits.
func (i *Image) sweepJournals() error {
	dir, name := filepath.Split(i.journal)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("look for torn journals: %w", err)
	}
	for _, e := range entries {
		tail, ok := strings.CutPrefix(e.Name(), "."+name+".")
		if !ok || tail == "" || strings.Trim(tail, "0123456789") != "" {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove a torn journal: %w", err)
		}
	}
	return nil
}
