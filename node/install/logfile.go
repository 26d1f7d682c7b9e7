package install

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// trimLog bounds a log that another process appends to: at max bytes what is there
// goes to path.1 and the file begins anew. Lines written in between are lost.
func trimLog(path string, max int64) error {
	in, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil || st.Size() < max {
		return err
	}
	old, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = in.Seek(max-2*max, io.SeekEnd) // the last max bytes
	if err == nil {
		_, err = io.CopyN(old, in, max)
	}
	if err = errors.Join(err, old.Close()); err != nil {
		return err
	}
	return in.Truncate(0)
}

// poll looks now and then whether the process still runs.
func (p *process) poll(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for p.alive() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
