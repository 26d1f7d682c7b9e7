package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	journalMagic = "starling/log/1\x00"
	// maxRecordBytes bounds a record: a decision and its numbers.
	maxRecordBytes = rollout.MaxDecisionBytes + 64
	// slackBytes is by how much the journal may grow before it is written anew.
	slackBytes = 1 << 20

	recordEntry  = 1 // index, term, type, data
	recordCut    = 2 // index: this entry and all after it are gone
	recordStable = 3 // key, value
)

// A journal is raft's log, term and vote in one file to which records are only
// added, each { length, crc32c, payload } and on the disk before raft hears of it. All of
// it is in memory too, for the log is a few hundred short entries; when its head is
// cut the file is written anew.
//
// A last record that is not whole was cut off by a power failure before anybody was
// told of it, and is dropped. Anything else that cannot be read is ErrDamaged.
//
// (raft-wal v0.4.0 cannot open a log again whose tail was cut, hashicorp/raft-wal#31,
// finds entries that were cut off at the head, and never closes its bbolt file.)
type journal struct {
	path string

	writing sync.Mutex // one writer at a time; held over writes to the file
	file    *os.File   // guarded by writing, as is what follows
	size    int64
	live    int64 // size when the file was last opened or written anew
	broken  error // what the disk holds is not known any more

	mu      sync.RWMutex // guards the rest, never held over I/O
	first   uint64       // index of entries[0]; zero if there are none
	entries []raft.Log   // contiguous by index; one in it is not changed
	stable  map[string][]byte
}

// openJournal opens or creates the file at path. Errors wrap ErrDamaged.
func openJournal(path string) (*journal, error) {
	j := &journal{path: path, stable: map[string][]byte{}}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return j, j.rewrite(nil, j.stable)
	case err != nil:
		return nil, fmt.Errorf("%w: read the log: %v", ErrDamaged, err)
	}
	if err := j.replay(data); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
	}
	if j.file, err = os.OpenFile(path, os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("%w: open the log: %v", ErrDamaged, err)
	}
	if err := j.file.Truncate(j.size); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: drop the torn end of the log: %v", ErrDamaged, err), j.file.Close())
	}
	return j, nil
}

// replay rebuilds the memory from the file and sets size to what of it is whole.
func (j *journal) replay(data []byte) error {
	if len(data) < len(journalMagic) || string(data[:len(journalMagic)]) != journalMagic {
		return errors.New("it does not begin like a log")
	}
	j.size = int64(len(journalMagic))
	for rest := data[j.size:]; len(rest) > 0; rest = data[j.size:] {
		payload, n, err := readRecord(rest)
		if errors.Is(err, errTorn) {
			break
		}
		if err == nil {
			err = j.take(payload)
		}
		if err != nil {
			return fmt.Errorf("at byte %d: %w", j.size, err)
		}
		j.size += int64(n)
	}
	j.live = j.size
	return nil
}

// errTorn is a record at the end of the file that is not whole.
var errTorn = errors.New("torn")

// readRecord returns the payload at the start of data and the length of its record.
func readRecord(data []byte) ([]byte, int, error) {
	if len(data) < 8 {
		return nil, 0, errTorn
	}
	size := int64(binary.BigEndian.Uint32(data))
	if size == 0 || size > maxRecordBytes {
		if zero(data) {
			return nil, 0, errTorn // the file grew before its bytes arrived
		}
		return nil, 0, fmt.Errorf("a record of %d bytes", size)
	}
	if int64(len(data)) < 8+size {
		return nil, 0, errTorn
	}
	payload := data[8 : 8+size]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(data[4:]) {
		if int64(len(data)) == 8+size {
			return nil, 0, errTorn
		}
		return nil, 0, errors.New("a wrong checksum")
	}
	return payload, int(8 + size), nil
}

func zero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

// take carries out one record on the memory.
func (j *journal) take(p []byte) error {
	kind, p := p[0], p[1:]
	switch {
	case kind == recordEntry && len(p) >= 17:
		index := binary.BigEndian.Uint64(p)
		if index == 0 || (len(j.entries) > 0 && index != j.first+uint64(len(j.entries))) {
			return fmt.Errorf("entry %d out of order", index)
		}
		j.push(raft.Log{Index: index, Term: binary.BigEndian.Uint64(p[8:]), Type: raft.LogType(p[16]), Data: slices.Clone(p[17:])})
	case kind == recordCut && len(p) == 8:
		j.drop(binary.BigEndian.Uint64(p))
	case kind == recordStable && len(p) >= 1 && len(p) >= 1+int(p[0]):
		j.stable[string(p[1:1+p[0]])] = slices.Clone(p[1+p[0]:])
	default:
		return fmt.Errorf("a record of kind %d with %d bytes", kind, len(p))
	}
	return nil
}

func (j *journal) push(l raft.Log) {
	if len(j.entries) == 0 {
		j.first = l.Index
	}
	j.entries = append(j.entries, l)
}

// drop forgets the entry at index from and all after it.
func (j *journal) drop(from uint64) {
	if len(j.entries) == 0 || from >= j.first+uint64(len(j.entries)) {
		return
	}
	j.entries = slices.Clone(j.entries[:max(from, j.first)-j.first])
	if len(j.entries) == 0 {
		j.first = 0
	}
}

func appendRecord(b []byte, payload ...[]byte) []byte {
	at := len(b)
	b = append(b, make([]byte, 8)...)
	for _, p := range payload {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-8))
	binary.BigEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], castagnoli))
	return b
}

func appendEntry(b []byte, l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64([]byte{recordEntry}, l.Index)
	head = append(binary.BigEndian.AppendUint64(head, l.Term), byte(l.Type))
	return appendRecord(b, head, l.Data)
}

func appendStable(b []byte, key string, value []byte) []byte {
	return appendRecord(b, []byte{recordStable, byte(len(key))}, []byte(key), value)
}

// write adds records durably; the caller holds writing. After an error the file
// is as before, or the journal is broken.
func (j *journal) write(b []byte) error {
	if j.broken != nil {
		return j.broken
	}
	err := durable.Retry(j.path, func() error {
		_, err := j.file.WriteAt(b, j.size)
		return err
	})
	if err != nil {
		if cut := j.file.Truncate(j.size); cut != nil {
			j.broken = fmt.Errorf("%w: %v", ErrDamaged, errors.Join(err, cut))
			return j.broken
		}
		return err
	}
	if err := j.file.Sync(); err != nil {
		j.broken = fmt.Errorf("%w: sync the log: %v", ErrDamaged, err)
		return j.broken
	}
	j.size += int64(len(b))
	return nil
}

// rewrite replaces the file by one that holds just log and stable; the caller holds
// writing, or is alone.
func (j *journal) rewrite(log []raft.Log, stable map[string][]byte) error {
	if j.broken != nil {
		return j.broken
	}
	b := []byte(journalMagic)
	for _, k := range slices.Sorted(maps.Keys(stable)) {
		b = appendStable(b, k, stable[k])
	}
	for i := range log {
		b = appendEntry(b, &log[i])
	}
	if err := replace(j.path, b); err != nil {
		return fmt.Errorf("write the log anew: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_RDWR, 0o600)
	if err != nil {
		j.broken = fmt.Errorf("%w: open the log: %v", ErrDamaged, err)
		return j.broken
	}
	if j.file != nil {
		err = j.file.Close() // of a file that has no name any more
	}
	j.file, j.size, j.live = f, int64(len(b)), int64(len(b))
	return err
}

// close gives the file back.
func (j *journal) close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.broken == nil {
		j.broken = os.ErrClosed
	}
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
