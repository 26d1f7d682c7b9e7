package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
)

// torrentPieceBytes is the piece size of torrents: the one at which anacrolix/torrent
// was fastest of 256 KiB, 1 and 4 MiB.
const torrentPieceBytes = 256 << 10

// An image is the file that a swarm distributes: random bytes, which nobody can
// compress.
type image struct {
	path string // its name is "image", in a directory of its own
	meta string // see peer.Spec.Meta
	size int64
	sum  [sha256.Size]byte
}

// image makes the file of so many MiB, or returns the one made before.
func (b *bench) image(mib int) (*image, error) {
	if im := b.images[mib]; im != nil {
		return im, nil
	}
	dir := filepath.Join(b.dir, fmt.Sprintf("image-%d", mib))
	im := &image{path: filepath.Join(dir, "image"), meta: filepath.Join(b.dir, fmt.Sprintf("meta-%d", mib)), size: int64(mib) << 20}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(im.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, sum := bufio.NewWriterSize(f, 1<<20), sha256.New()
	random := rand.NewChaCha8([32]byte{byte(mib)})
	if _, err := io.CopyN(io.MultiWriter(w, sum), random, im.size); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	im.sum = [sha256.Size]byte(sum.Sum(nil))
	b.images[mib] = im
	return im, im.writeTorrent()
}

func (im *image) writeTorrent() error {
	info := metainfo.Info{PieceLength: torrentPieceBytes}
	if err := info.BuildFromFilePath(im.path); err != nil {
		return err
	}
	encoded, err := bencode.Marshal(info)
	if err != nil {
		return err
	}
	f, err := os.Create(im.meta + ".torrent")
	if err != nil {
		return err
	}
	mi := metainfo.MetaInfo{InfoBytes: encoded}
	if err := mi.Write(f); err != nil {
		return err
	}
	return f.Close()
}

// check compares what a member has fetched: the one file named image below dir.
func (im *image) check(dir string) error {
	for _, path := range []string{filepath.Join(dir, "image"), filepath.Join(dir, "slot", "image")} {
		f, err := os.Open(path)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		if [sha256.Size]byte(sum.Sum(nil)) != im.sum {
			return fmt.Errorf("%s is not what was sent", path)
		}
		return nil
	}
	return fmt.Errorf("nothing came to %s", dir)
}
