package store

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// headroomDivisor adds 1/20 to what admission asks for: file systems round each
// file up to a block and keep books of their own.
const headroomDivisor = 20

// A SpaceError says that an image was refused because the disk has no room for
// it. It is an ErrFull. Free Need+Reserve-Free bytes, or more.
type SpaceError struct {
	Need    int64 // bytes that the image still takes, with headroom
	Free    int64 // bytes that the file system has for us
	Reserve int64 // bytes that stay free for records, log and halt file
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("store: no space: the image needs %d bytes and %d stay in reserve, %d are free: free %d more",
		e.Need, e.Reserve, e.Free, e.Need+e.Reserve-e.Free)
}

// Unwrap lets errors.Is find ErrFull.
func (e *SpaceError) Unwrap() error { return ErrFull }

// Need is how many bytes admission must find for the image m: what is missing in
// img, and 5 % of it. A nil img holds nothing.
func Need(m *manifest.Manifest, img *Image) int64 {
	var missing int64
	if img == nil {
		missing = m.Bytes()
	} else {
		_, missing = img.Missing()
	}
	return missing + missing/headroomDivisor
}

// Admit reports, before the first byte is fetched, whether the file system of
// dir has room for need bytes and reserve more. If not, the error is a
// *SpaceError. A dir that does not exist yet is judged by the nearest one above.
func Admit(dir string, need, reserve int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("admit image: %w", err)
	}
	if need <= 0 || (free >= reserve && free-reserve >= need) {
		return nil
	}
	return &SpaceError{Need: need, Free: free, Reserve: reserve}
}

// freeBytes is what the file system of dir has left for our user.
func freeBytes(dir string) (int64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	for {
		var st unix.Statfs_t
		err := again(func() error { return unix.Statfs(dir, &st) })
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		blocks, size := int64(st.Bavail), int64(st.Bsize)
		if size > 0 && blocks > math.MaxInt64/size {
			return math.MaxInt64, nil
		}
		return blocks * size, nil
	}
}
