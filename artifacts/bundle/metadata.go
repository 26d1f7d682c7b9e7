package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
)

// SetMetadata puts metadata, opaque bytes of at most MaxMetadataBytes, into the
// bundle at path, in place of what was there: none removes it. The file is
// rewritten atomically and its data copied as it is. Errors are those of Open,
// and canonical.ErrTooLarge.
func SetMetadata(path string, metadata []byte) error {
	if len(metadata) > MaxMetadataBytes {
		return fmt.Errorf("bundle metadata: %w: %d bytes, the limit is %d", canonical.ErrTooLarge, len(metadata), MaxMetadataBytes)
	}
	b, err := Open(path)
	if err != nil {
		return err
	}
	defer b.Close()
	x := b.index
	x.Metadata = metadata
	err = replace(path, func(f *os.File) error {
		n, err := io.Copy(f, io.NewSectionReader(b.file, 0, headerBytes+int64(b.header.data)))
		if err == nil && n != headerBytes+int64(b.header.data) {
			err = b.damaged("data", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		return finish(f, b.header.data, &x)
	})
	if err != nil {
		return fmt.Errorf("bundle metadata: rewrite %s: %w", path, err)
	}
	return nil
}

// replace writes a file at path through fill: the old contents stay until the new
// are whole and on the disk. Errors are fill's as they are, or name the file.
func replace(path string, fill func(*os.File) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // keep a link that leads to the file
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fill(f); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	err = errors.Join(f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return durable.SyncDir(filepath.Dir(path))
}
