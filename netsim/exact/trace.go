package exact

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"
)

// Epoch is when every bubble's clock starts.
var Epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Writer records a run, one event a line, each with its virtual time, and keeps
// a digest over all of them. Two runs with equal digests after n events had the
// same n events; Compare finds where two records part.
//
// It may be used from many goroutines. Its mutex is held while a full buffer is
// written: to a file on a RAM disk that is short, and takes no virtual time.
type Writer struct {
	mu   sync.Mutex
	out  *bufio.Writer // nil keeps the digest only
	sum  hash.Hash
	line []byte // of the event at hand, reused
	n    int
	err  error // the first of out; nothing is written after it
}

// NewWriter records to w; nil keeps the digest only.
func NewWriter(w io.Writer) *Writer {
	t := &Writer{sum: sha256.New()}
	if w != nil {
		t.out = bufio.NewWriterSize(w, 64<<10)
	}
	return t
}

// Event records one event in fmt's notation, stamped with the current time. A
// line break inside it is written as a space: an event is a line.
func (t *Writer) Event(format string, args ...any) {
	now := time.Since(Epoch)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.line = fmt.Appendf(t.line[:0], "+%d.%09ds ", now/time.Second, now%time.Second)
	t.line = fmt.Appendf(t.line, format, args...)
	for i, c := range t.line {
		if c == '\n' {
			t.line[i] = ' '
		}
	}
	t.line = append(t.line, '\n')
	t.sum.Write(t.line) // a hash never fails
	t.n++
	if t.out != nil && t.err == nil {
		_, t.err = t.out.Write(t.line)
	}
}

// Digest is the digest of the events so far, in hexadecimal.
func (t *Writer) Digest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return hex.EncodeToString(t.sum.Sum(nil)[:16])
}

// Events is how many there were so far.
func (t *Writer) Events() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// Flush writes what is buffered and returns the first error of the record.
func (t *Writer) Flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.out != nil && t.err == nil {
		t.err = t.out.Flush()
	}
	return t.err
}
