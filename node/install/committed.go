package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/node/update"
)

// maxCommittedFile bounds what is written down of a committed slot, in bytes.
const maxCommittedFile = 16 << 10

// committedFile is the JSON form of what a slot runs. A slot is no use without it
// when all records are lost: nobody else on the robot knows the command.
type committedFile struct {
	Version string   `json:"version"`
	Run     []string `json:"run"`
}

// Commit writes down what the slot runs, then marks it.
func (d *DirSlot) Commit(ctx context.Context, p Payload) error {
	if len(p.Run) > 0 { // else the record was lost already
		data, err := json.Marshal(committedFile{p.Release.Version, p.Run})
		if err == nil {
			err = writeDurable(d.committedPath(p.Slot), append(data, '\n'))
		}
		if err != nil {
			return fmt.Errorf("commit slot %s: %w", p.Slot, err)
		}
	}
	return d.slots.Commit(ctx, p)
}

// known fills in what a lost record no longer says of p. A file that makes no sense
// says nothing.
func (d *DirSlot) known(p Payload) Payload {
	if len(p.Run) > 0 || !p.Release.IsZero() {
		return p
	}
	f, err := d.readCommitted(p.Slot)
	if err != nil {
		d.log.Warn("what the slot ran is not known", "slot", p.Slot, "err", err)
		return p
	}
	p.Run, p.Release.Version = f.Run, f.Version
	return p
}

func (d *DirSlot) readCommitted(s update.Slot) (f committedFile, err error) {
	in, err := os.Open(d.committedPath(s))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	defer in.Close()
	return f, json.NewDecoder(io.LimitReader(in, maxCommittedFile)).Decode(&f)
}

// committedPath is the file that says what a slot ran when it was committed.
func (d *DirSlot) committedPath(s update.Slot) string {
	return filepath.Join(d.dir, "committed-"+s.String()+".json")
}
