package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/bundle"
)

// building compares `starling release build` of a tree of 1 GiB with hashing the
// same tree by all processors, the tree in the page cache.
func (b *bench) building(ctx context.Context) error {
	tree := filepath.Join(b.dir, "tree-1024")
	total, err := plant(tree, 1024*mib/b.scale)
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	ways := []struct {
		name string
		run  func() error
	}{
		{"SHA-256 alone", func() error { return hashTree(tree) }},
		{"list the image", func() error { _, err := bundle.BuildImage(ctx, tree, nil); return err }},
		{"release build --plain", func() error { return b.buildRelease(ctx, tree, key, true) }},
		{"release build", func() error { return b.buildRelease(ctx, tree, key, false) }},
	}
	took := make([][]float64, len(ways))
	for range b.rounds {
		for i, w := range ways {
			began := time.Now()
			if err := w.run(); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			took[i] = append(took[i], time.Since(began).Seconds())
		}
	}
	var t table
	t.add("what", "time", "MiB/s", "x hashing alone")
	for i, w := range ways {
		m := median(took[i])
		t.add(w.name, number(m, 2)+" s", number(float64(total)/mib/m, 0), number(median(took[0])/m, 2))
	}
	return t.print(b.out)
}

// buildRelease builds a release of the tree; plain stores chunks as they are.
func (b *bench) buildRelease(ctx context.Context, tree string, key ed25519.PrivateKey, plain bool) error {
	out := filepath.Join(b.dir, "release.star")
	spec := bundle.Spec{
		Component: "app", Version: "1", Counter: 1, Plain: plain,
		Variants: []bundle.VariantSpec{{Name: "all", Path: tree, Run: []string{"a/0.bin"}}},
	}
	_, err := bundle.Build(ctx, spec, key, out, nil)
	return errors.Join(err, os.Remove(out))
}

// plant makes a tree: files of 64 KiB to 64 MiB, half of them random bytes, half text.
func plant(dir string, bytes int) (total int64, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := rand.NewChaCha8([32]byte{})
	for n := 0; total < int64(bytes); n++ {
		size := min(int64(64<<10)<<r.IntN(11), int64(bytes)-total)
		data := make([]byte, size)
		_, _ = noise.Read(data) // never fails
		if n%2 == 0 {
			for i := range data {
				data[i] = "some text of a configuration or a program, more or less the same everywhere.\n"[i%77] ^ data[i&^15]&3
			}
		}
		path := filepath.Join(dir, string(rune('a'+n%8)), fmt.Sprintf("%d.bin", n))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o755)); err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

// hashTree hashes every file of a tree in parts of 4 MiB, by as many goroutines as
// there are processors: the least work that a proof of every byte needs.
func hashTree(dir string) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		const part = 4 << 20
		for at := int64(0); at < info.Size(); at += part {
			g.Go(func() error {
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = io.Copy(sha256.New(), io.NewSectionReader(f, at, part))
				return err
			})
		}
		return nil
	})
	return errors.Join(err, g.Wait())
}
