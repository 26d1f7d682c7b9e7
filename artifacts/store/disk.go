package store

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is how large the file system of dir is, and what it has left for our user, in
// bytes. A dir that does not exist yet is judged by the nearest one above.
func Disk(dir string) (free, total int64, err error) {
	if free, err = freeBytes(dir); err != nil {
		return 0, 0, err
	}
	for {
		var st unix.Statfs_t
		err := again(func() error { return unix.Statfs(dir, &st) })
		if err == unix.ENOENT && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("size of the disk of %s: %w", dir, err)
		}
		blocks, size := int64(st.Blocks), int64(st.Bsize)
		if size > 0 && blocks > math.MaxInt64/size {
			return free, math.MaxInt64, nil
		}
		return free, blocks * size, nil
	}
}

// Size is how many bytes the files below dir take on their disk; holes and what is
// not there take none.
func Size(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		var st unix.Stat_t
		if err := again(func() error { return unix.Lstat(path, &st) }); err != nil {
			if err == unix.ENOENT {
				return nil
			}
			return &os.PathError{Op: "stat", Path: path, Err: err}
		}
		bytes += st.Blocks * 512
		return nil
	})
	return bytes, err
}
