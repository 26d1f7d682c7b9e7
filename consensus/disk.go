package consensus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/planted"
)

const (
	lockFile  = "lock"
	logFile   = "log"
	vowFile   = "signed"
	proofFile = "certified"
)

// Exists reports whether a raft log is in dir: whether this seat has ever run there.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, logFile))
	return err == nil
}

// disk is raft's log store and stable store over a journal. Raft panics where it
// cannot save its term; disk ends just that goroutine of raft instead and reports the
// reason, so that Run can end in order while the robot goes on.
type disk struct {
	*journal
	fail func(error)
	log  *slog.Logger
	// applied is the last index applied, and restored that of the snapshot it
	// started from.
	applied, restored func() uint64
	armed             atomic.Bool // raft's goroutines run; before, start reports errors itself
}

// errNoKey is what raft expects of a stable store that has no such key: it compares
// the text.
var errNoKey = errors.New("not found")

func openDisk(dir string, log *slog.Logger, fail func(error)) (*disk, error) {
	j, err := openJournal(filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	if planted.Is("forget-votes") {
		clear(j.stable)
	}
	return &disk{journal: j, fail: fail, log: log}, nil
}

// FirstIndex implements raft.LogStore.
func (d *disk) FirstIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.first, nil
}

// LastIndex implements raft.LogStore.
func (d *disk) LastIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if len(d.entries) == 0 {
		return 0, nil
	}
	return d.first + uint64(len(d.entries)) - 1, nil
}

// GetLog implements raft.LogStore.
func (d *disk) GetLog(index uint64, l *raft.Log) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if index < d.first || index-d.first >= uint64(len(d.entries)) {
		return raft.ErrLogNotFound
	}
	*l = d.entries[index-d.first]
	return nil
}

// IsMonotonic implements raft.MonotonicLogStore: there are no gaps.
func (d *disk) IsMonotonic() bool { return true }

// StoreLog implements raft.LogStore.
func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. After an error raft steps back and tries again.
func (d *disk) StoreLogs(logs []*raft.Log) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	last, _ := d.LastIndex()
	var b []byte
	for _, l := range logs {
		if last != 0 && l.Index != last+1 {
			return fmt.Errorf("consensus: entry %d after %d", l.Index, last)
		}
		last = l.Index
		b = appendEntry(b, l)
	}
	if err := d.write(b); err != nil {
		d.log.Warn("log entries not stored, trying again; is the disk full?", "err", err)
		d.dead(err)
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range logs {
		d.push(raft.Log{Index: l.Index, Term: l.Term, Type: l.Type, Data: l.Data})
	}
	return nil
}

// DeleteRange implements raft.LogStore: raft cuts the head behind a snapshot, and the
// tail when a new leader holds other entries there. None of those can have been
// applied, unless somebody lied about what was committed.
func (d *disk) DeleteRange(from, to uint64) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	first, _ := d.FirstIndex()
	last, _ := d.LastIndex()
	if last == 0 || to < first || from > last {
		return nil
	}
	if to < last {
		if from > first {
			return fmt.Errorf("consensus: entries %d to %d are in the middle of %d to %d", from, to, first, last)
		}
		return d.cutHead(to + 1)
	}
	if err := d.write(appendRecord(nil, binary.BigEndian.AppendUint64([]byte{recordCut}, from))); err != nil {
		d.dead(err)
		return err
	}
	d.mu.Lock()
	d.drop(from)
	d.mu.Unlock()
	whole := from <= first && d.applied() == d.restored() // making room for a snapshot
	if d.armed.Load() && from <= d.applied() && !whole {
		d.fail(fmt.Errorf("%w: entries from %d on were replaced, and %d was applied", ErrDiverged, from, d.applied()))
	}
	return nil
}

// cutHead makes first the first entry; the caller holds writing.
func (d *disk) cutHead(first uint64) error {
	d.mu.RLock()
	rest := slices.Clone(d.entries[first-d.first:])
	stable := maps.Clone(d.stable)
	d.mu.RUnlock()
	if err := d.rewrite(rest, stable); err != nil {
		d.dead(err)
		return err
	}
	d.mu.Lock()
	d.first, d.entries = first, rest
	d.mu.Unlock()
	return nil
}

// Set implements raft.StableStore.
func (d *disk) Set(key, value []byte) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if len(key) > 255 {
		return fmt.Errorf("consensus: a key of %d bytes", len(key))
	}
	if err := d.write(appendStable(nil, string(key), value)); err != nil {
		return err
	}
	d.mu.Lock()
	d.stable[string(key)] = slices.Clone(value)
	log, stable := d.entries, maps.Clone(d.stable)
	d.mu.Unlock()
	if d.size > d.live+slackBytes {
		return d.rewrite(log, stable) // terms and cuts that count no more
	}
	return nil
}

// Get implements raft.StableStore.
func (d *disk) Get(key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	v, ok := d.stable[string(key)]
	if !ok {
		return nil, errNoKey
	}
	return slices.Clone(v), nil
}

// SetUint64 implements raft.StableStore.
func (d *disk) SetUint64(key []byte, v uint64) error {
	err := d.Set(key, binary.BigEndian.AppendUint64(nil, v))
	if err != nil && d.armed.Load() {
		d.fail(fmt.Errorf("%w: save %s: %v", ErrDamaged, key, err))
		runtime.Goexit()
	}
	return err
}

// GetUint64 implements raft.StableStore.
func (d *disk) GetUint64(key []byte) (uint64, error) {
	v, err := d.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("%w: %s has %d bytes", ErrDamaged, key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// dead ends Run if err means that nothing can be written any more.
func (d *disk) dead(err error) {
	if errors.Is(err, ErrDamaged) {
		d.fail(err)
	}
}

// Close gives the file back.
func (d *disk) Close() error { return d.close() }
