package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
)

const (
	vowMagic      = "starling/vows/1\x00"
	vowHeadBytes  = len(vowMagic) + manifest.DigestBytes + 4
	vowBytes      = 8 + manifest.DigestBytes + 4
	maxVowRecords = 4096 // then the file is written anew with the last keptVows
	keptVows      = 128
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// vows is the memory of what this voter has signed in one generation: one
// statement for each index, for good. It is a file to which records are only
// added, each on the disk before the signature leaves the robot:
//
//	magic, genesis digest, crc32c
//	{ index, digest of the statement, crc32c } …
//
// Indexes rise. A record that was cut off by a power failure was never synced, so
// its signature was never given, and is dropped. Anything else that cannot be read,
// or a file that is not there, may have been a promise: keep refuses everything
// until raise has been told the highest index that the raft log could have asked
// about, and everything new up to that index for good.
// It is not safe for concurrent use.
type vows struct {
	path    string
	genesis manifest.Digest
	file    *os.File
	size    int64
	damaged bool // records may be missing: raise comes before keep
	highest uint64
	kept    []vow // the newest records, ascending; at most maxVowRecords
}

type vow struct {
	index     uint64
	statement manifest.Digest
}

// openVows opens or creates the file at path. Errors wrap ErrOther or ErrDamaged.
func openVows(path string, genesis manifest.Digest) (*vows, error) {
	v := &vows{path: path, genesis: genesis}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		v.damaged = true
		return v, nil
	case err != nil:
		return nil, fmt.Errorf("%w: read vows: %v", ErrDamaged, err)
	}
	if err := v.parse(data); err != nil {
		return nil, err
	}
	if v.damaged {
		return v, nil
	}
	if v.file, err = os.OpenFile(path, os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("%w: open vows: %v", ErrDamaged, err)
	}
	if err := v.file.Truncate(v.size); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: cut the torn end of vows: %v", ErrDamaged, err), v.file.Close())
	}
	return v, nil
}

// parse reads what is readable of data and sets size to it. It marks the vows
// damaged if whole records are not readable or the head is not.
func (v *vows) parse(data []byte) error {
	if len(data) < vowHeadBytes || !sealed(data[:vowHeadBytes]) || string(data[:len(vowMagic)]) != vowMagic {
		v.damaged = true
		return nil
	}
	if manifest.Digest(data[len(vowMagic):vowHeadBytes-4]) != v.genesis {
		return fmt.Errorf("%w: %s", ErrOther, filepath.Dir(v.path))
	}
	v.size = int64(vowHeadBytes)
	for rest := data[vowHeadBytes:]; len(rest) >= vowBytes; rest = rest[vowBytes:] {
		r := rest[:vowBytes]
		w := vow{index: binary.BigEndian.Uint64(r), statement: manifest.Digest(r[8 : 8+manifest.DigestBytes])}
		if !sealed(r) || w.index <= v.highest {
			v.damaged = true
			continue
		}
		v.highest = w.index
		v.kept = append(v.kept, w)
		v.size += int64(vowBytes)
	}
	return nil
}

func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func sealed(b []byte) bool {
	n := len(b) - 4
	return crc32.Checksum(b[:n], castagnoli) == binary.BigEndian.Uint32(b[n:])
}

func (w vow) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, vowBytes), w.index)
	return seal(append(b, w.statement[:]...))
}

// raise forbids new signatures at or below index if records may be missing. It
// must be called once before keep, with the highest index that this seat could
// have been asked to sign. What it forbids is on the disk as a vow for nothing.
func (v *vows) raise(index uint64) error {
	if !v.damaged {
		return nil
	}
	if index > v.highest {
		v.highest = index
		v.kept = append(v.kept, vow{index: index})
	}
	if err := v.rewrite(); err != nil {
		return err
	}
	v.damaged = false
	return nil
}

// keep promises s: nil means that it is on the disk and may be signed, now and
// again. It returns ErrVow if another statement may have been signed for the
// index, ErrDamaged if the disk fails.
func (v *vows) keep(s order.Statement) error {
	if v.damaged {
		return fmt.Errorf("%w: the memory of it is damaged", ErrVow)
	}
	w := vow{index: s.Index, statement: manifest.Sum(canonical.Encode(&s))}
	for _, k := range v.kept {
		if k.index == w.index && k.statement == w.statement {
			return nil
		}
	}
	if w.index <= v.highest {
		return fmt.Errorf("%w: index %d, the highest signed is %d", ErrVow, w.index, v.highest)
	}
	return v.append(w)
}

func (v *vows) append(w vow) error {
	if len(v.kept) >= maxVowRecords {
		v.kept = append([]vow(nil), v.kept[len(v.kept)-keptVows:]...)
		if err := v.rewrite(); err != nil {
			return err
		}
	}
	if v.file == nil {
		if err := v.rewrite(); err != nil {
			return err
		}
	}
	err := durable.Retry(v.path, func() error {
		_, err := v.file.WriteAt(w.encode(), v.size)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: write a vow: %v", ErrDamaged, err)
	}
	if err := v.file.Sync(); err != nil {
		// What the disk holds now is unknown: read it back before the next.
		return errors.Join(fmt.Errorf("%w: sync vows: %v", ErrDamaged, err), v.close())
	}
	v.size += int64(vowBytes)
	v.highest = w.index
	v.kept = append(v.kept, w)
	return nil
}

// rewrite replaces the file by one with the records kept.
func (v *vows) rewrite() error {
	b := seal(append([]byte(vowMagic), v.genesis[:]...))
	for _, w := range v.kept {
		b = append(b, w.encode()...)
	}
	if err := errors.Join(v.close(), replace(v.path, b)); err != nil {
		return fmt.Errorf("%w: write vows: %v", ErrDamaged, err)
	}
	f, err := os.OpenFile(v.path, os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("%w: open vows: %v", ErrDamaged, err)
	}
	v.file, v.size = f, int64(len(b))
	return nil
}

func (v *vows) close() error {
	if v.file == nil {
		return nil
	}
	err := v.file.Close()
	v.file = nil
	return err
}

// replace writes a file whole or not at all: temporary, sync, rename, sync of the
// directory. On a full disk it uses the reserve.
func replace(path string, data []byte) error {
	return durable.Retry(path, func() error { return replaceOnce(path, data) })
}

func replaceOnce(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", filepath.Base(path), limit)
	}
	return data, nil
}
