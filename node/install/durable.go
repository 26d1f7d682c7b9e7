package install

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/durable"
)

// writeDurable replaces path by a file with data, so that after a loss of power it
// has the old contents or the new.
func writeDurable(path string, data []byte) error {
	return durable.Retry(path, func() error { return writeOnce(path, data) })
}

func writeOnce(path string, data []byte) error {
	tmp := path + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
