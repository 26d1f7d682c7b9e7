package bundle_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

var builder = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// noise returns n bytes that no compressor can shorten, the same for one seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// prose returns n bytes that compress well.
func prose(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "robot %d of the north field reports that all is well\n", i)
	}
	return b.Bytes()[:n]
}

// plant writes files under a new directory: a path that ends in "/" is a
// directory, one whose contents start with "->" a link, "*" in front makes a file
// executable.
func plant(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		mode := fs.FileMode(0o644)
		if name[0] == '*' {
			name, mode = name[1:], 0o755
		}
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case name[len(name)-1] == '/':
			require.NoError(t, os.MkdirAll(p, 0o755))
		case len(body) > 2 && body[:2] == "->":
			require.NoError(t, os.Symlink(body[2:], p))
		default:
			require.NoError(t, os.WriteFile(p, []byte(body), mode))
			require.NoError(t, os.Chmod(p, mode))
		}
	}
	return dir
}

// app is a tree with something of everything that an image can hold.
func app(t *testing.T) string {
	return plant(t, map[string]string{
		"*bin/nav":         string(noise(1, 300<<10)),
		"bin/latest":       "->nav",
		"share/map.txt":    string(prose(200 << 10)),
		"share/map.txt.d/": "",
		"share.txt":        "sorts between share and share/map.txt",
		"empty":            "",
		"lib/libx.so":      "->./libx.so.1",
		"lib/libx.so.1":    "code",
	})
}

func spec(dirs ...string) bundle.Spec {
	s := bundle.Spec{
		Component: "nav", Version: "1.5.0", Counter: 7, From: []string{"1.4.0"}, Notes: "wind",
		Fallbacks: []manifest.Ref{{Version: "1.4.0", Counter: 6, Digest: manifest.Sum([]byte("old"))}}, SecurityFloor: 3,
		Tool: "starling test", Source: "git:4f2a",
	}
	for i, d := range dirs {
		s.Variants = append(s.Variants, bundle.VariantSpec{
			Name: fmt.Sprintf("mk%d", i+1), Match: map[string]string{"model": fmt.Sprintf("mk%d", i+1)},
			Path: d, Requires: []string{"revert"}, Run: []string{"bin/nav", "--fast"},
		})
	}
	return s
}

func build(t *testing.T, s bundle.Spec) (string, *manifest.Release) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "nav-1.5.0.star")
	r, err := bundle.Build(t.Context(), s, builder, out, nil)
	require.NoError(t, err)
	return out, r
}

func open(t *testing.T, path string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// unpack writes what the manifest lists, from the chunks of b, and returns it.
func unpack(t *testing.T, b *bundle.Bundle, d manifest.Digest) map[string]string {
	t.Helper()
	m, err := b.Manifest(d)
	require.NoError(t, err)
	files := make([][]byte, len(m.Entries))
	l := manifest.NewLayout(m)
	for i, c := range m.Chunks {
		data, err := b.ReadChunk(c)
		require.NoError(t, err)
		for _, e := range l.Extents(i) {
			files[e.Entry] = append(files[e.Entry], data[:e.Bytes]...)
			data = data[e.Bytes:]
		}
	}
	out := map[string]string{}
	for i, e := range m.Entries {
		name := fmt.Sprintf("%s %o", e.Path, e.Mode)
		switch e.Kind {
		case manifest.File:
			out[name] = string(files[i])
		case manifest.Dir:
			out[name] = "/"
		case manifest.Link:
			out[name] = "->" + e.Target
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	path, r := build(t, spec(app(t)))
	b := open(t, path)
	require.Equal(t, r.Digest(), b.Release().Digest())
	require.Equal(t, r.Encode(), b.ReleaseBytes())
	require.Nil(t, b.Metadata())
	require.NoError(t, b.Verify(t.Context()))
	require.Equal(t, "dirslot", r.Variants[0].Driver)
	require.Equal(t, map[string]string{
		"bin 755": "/", "bin/nav 755": string(noise(1, 300<<10)), "bin/latest 0": "->nav",
		"share 755": "/", "share/map.txt 644": string(prose(200 << 10)), "share/map.txt.d 755": "/",
		"share.txt 644": "sorts between share and share/map.txt", "empty 644": "",
		"lib 755": "/", "lib/libx.so 0": "->libx.so.1", "lib/libx.so.1 644": "code",
	}, unpack(t, b, r.Variants[0].Manifest))

	p, key := b.Provenance()
	require.Equal(t, envelope.KeyOf(builder), key)
	require.Equal(t, "git:4f2a", p.Source)
	require.Equal(t, []bundle.Subject{{Name: "mk1", Manifest: r.Variants[0].Manifest, Bytes: r.Variants[0].Bytes}}, p.Variants)

	_, err := b.Manifest(manifest.Sum(nil))
	require.ErrorIs(t, err, bundle.ErrNotHeld)
	_, err = b.ReadChunk(manifest.Chunk{Digest: manifest.Sum(nil), Bytes: 1})
	require.ErrorIs(t, err, bundle.ErrNotHeld)
	require.NoError(t, b.Close())
}

func TestOneFile(t *testing.T) {
	dir := plant(t, map[string]string{"*nav-v2": "program", "nav": "->nav-v2"})
	m, err := bundle.BuildImage(t.Context(), filepath.Join(dir, "nav"), nil)
	require.NoError(t, err)
	require.Equal(t, []manifest.Entry{{Path: "nav", Kind: manifest.File, Mode: 0o755, Bytes: 7}}, m.Entries)
}

func TestEmptyFile(t *testing.T) {
	path, r := build(t, spec(plant(t, map[string]string{"flag": ""})))
	b := open(t, path)
	require.NoError(t, b.Verify(t.Context()))
	require.Equal(t, map[string]string{"flag 644": ""}, unpack(t, b, r.Variants[0].Manifest))
}

func TestEqualTreesGiveEqualBytes(t *testing.T) {
	one, two := app(t), app(t)
	old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, filepath.WalkDir(two, func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := d.Info()
		require.NoError(t, err)
		require.NoError(t, os.Chmod(p, info.Mode()&0o700|0o020)) // as under another umask
		return os.Chtimes(p, old, old)
	}))
	a, _ := build(t, spec(one, two))
	b, _ := build(t, spec(two, one))
	x, err := os.ReadFile(a)
	require.NoError(t, err)
	y, err := os.ReadFile(b)
	require.NoError(t, err)
	require.True(t, bytes.Equal(x, y), "two builds of equal trees differ")
}

func TestChunksAreStoredOnceAndCompressed(t *testing.T) {
	base := noise(3, 4<<20)
	one := plant(t, map[string]string{"model.bin": string(base)})
	two := plant(t, map[string]string{"model.bin": string(base), "extra": string(noise(4, 100<<10))})
	path, r := build(t, spec(one, two))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(5<<20), "shared chunks stand twice")
	b := open(t, path)
	require.NoError(t, b.Verify(t.Context()))
	require.Equal(t, string(base), unpack(t, b, r.Variants[1].Manifest)["model.bin 644"])

	path, _ = build(t, spec(plant(t, map[string]string{"log": string(prose(4 << 20))})))
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1<<20), "prose is not compressed")
}

func TestSmallChangeKeepsChunks(t *testing.T) {
	body := noise(5, 8<<20)
	a, err := bundle.BuildImage(t.Context(), plant(t, map[string]string{"x": string(body)}), nil)
	require.NoError(t, err)
	moved := append(append(bytes.Clone(body[:4<<20]), "inserted"...), body[4<<20:]...)
	b, err := bundle.BuildImage(t.Context(), plant(t, map[string]string{"x": string(moved)}), nil)
	require.NoError(t, err)
	have := map[manifest.Digest]bool{}
	for _, c := range a.Chunks {
		have[c.Digest] = true
	}
	var fresh uint32
	for _, c := range b.Chunks {
		if !have[c.Digest] {
			fresh += c.Bytes
		}
	}
	require.LessOrEqual(t, fresh, uint32(3*manifest.MaxChunkBytes))
	mean := b.Bytes() / int64(len(b.Chunks))
	require.InDelta(t, manifest.AverageChunkBytes, mean, manifest.AverageChunkBytes/2, "mean chunk is %d bytes", mean)
}

func TestProgress(t *testing.T) {
	dir := app(t)
	var done, total int64
	tell := func(d, n int64) {
		require.GreaterOrEqual(t, d, done)
		done, total = d, n
	}
	m, err := bundle.BuildImage(t.Context(), dir, tell)
	require.NoError(t, err)
	require.Equal(t, m.Bytes(), done)
	require.Equal(t, done, total)
	done = 0
	_, err = bundle.Build(t.Context(), spec(dir), builder, filepath.Join(t.TempDir(), "x.star"), tell)
	require.NoError(t, err)
	require.Equal(t, m.Bytes(), done)
	require.Equal(t, done, total)
}

func TestSetMetadata(t *testing.T) {
	path, _ := build(t, spec(app(t)))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.ErrorIs(t, bundle.SetMetadata(path, make([]byte, bundle.MaxMetadataBytes+1)), canonical.ErrTooLarge)
	for _, meta := range [][]byte{[]byte("root, targets"), noise(9, bundle.MaxMetadataBytes), []byte("x")} {
		require.NoError(t, bundle.SetMetadata(path, meta))
		b, err := bundle.Open(path)
		require.NoError(t, err)
		require.Equal(t, meta, b.Metadata())
		require.NoError(t, b.Verify(t.Context()))
		require.NoError(t, b.Close())
	}
	require.NoError(t, bundle.SetMetadata(path, nil))
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "taking metadata out does not restore the file")
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "temporary files remain")
}

func TestBuildLeavesOldFileOnError(t *testing.T) {
	path, _ := build(t, spec(app(t)))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	dir := app(t)
	_, err = bundle.Build(ctx, spec(dir), builder, path, func(done, total int64) {
		if done > total/2 { // while chunks are written
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "temporary files remain")
}

func TestTreeThatChangesIsRefused(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, p string){
		"bytes":   func(t *testing.T, p string) { require.NoError(t, os.WriteFile(p, noise(2, 300<<10), 0o644)) },
		"shorter": func(t *testing.T, p string) { require.NoError(t, os.Truncate(p, 100)) },
		"longer":  func(t *testing.T, p string) { require.NoError(t, os.Truncate(p, 400<<10)) },
		"link": func(t *testing.T, p string) {
			require.NoError(t, os.Rename(p, p+".away"))
			require.NoError(t, os.Symlink(p+".away", p))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, changed := app(t), false
			old := time.Now().Add(-time.Hour) // a change shows in any file system's clock
			require.NoError(t, os.Chtimes(filepath.Join(dir, "bin/nav"), old, old))
			_, err := bundle.Build(t.Context(), spec(dir), builder, filepath.Join(t.TempDir(), "x.star"), func(done, total int64) {
				if done >= total/2 && !changed {
					changed = true
					change(t, filepath.Join(dir, "bin/nav"))
				}
			})
			require.ErrorContains(t, err, "bin/nav")
		})
	}
}

func TestMemoryStaysBounded(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "zeros"))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(96<<20)) // sparse
	require.NoError(t, f.Close())
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	seen := int64(0)
	_, err = bundle.BuildImage(t.Context(), dir, func(done, total int64) {
		if done-seen > 8<<20 {
			seen = done
			runtime.GC() // what is held counts, not how far behind the collector is
			runtime.ReadMemStats(&peak)
			require.Less(t, int64(peak.HeapAlloc)-int64(before.HeapAlloc), int64(16<<20))
		}
	})
	require.NoError(t, err)
}

func TestBuildRefuses(t *testing.T) {
	dir := app(t)
	for name, c := range map[string]struct {
		spec    func(*bundle.Spec)
		builder ed25519.PrivateKey
		out     string
		want    string
	}{
		"no key":         {builder: ed25519.PrivateKey{}, want: "starling init"},
		"no variant":     {spec: func(s *bundle.Spec) { s.Variants = nil }, want: "0 variants"},
		"bad version":    {spec: func(s *bundle.Spec) { s.Version = "a/b" }, want: `version "a/b"`},
		"no path":        {spec: func(s *bundle.Spec) { s.Variants[0].Path = filepath.Join(dir, "gone") }, want: "no such file"},
		"overlap":        {spec: func(s *bundle.Spec) { s.Variants = append(s.Variants, bundle.VariantSpec{Name: "other", Path: dir}) }, want: "overlap"},
		"out in image":   {out: filepath.Join(dir, "bin", "nav.star"), want: "write it elsewhere"},
		"long source":    {spec: func(s *bundle.Spec) { s.Source = string(make([]byte, 201)) }, want: "above 200 bytes"},
		"no out":         {out: filepath.Join(dir, "..", "gone", "x.star"), want: "no such file"},
		"too many words": {spec: func(s *bundle.Spec) { fat(s) }, want: "use fewer variants"},
	} {
		t.Run(name, func(t *testing.T) {
			s, key, out := spec(dir), builder, filepath.Join(t.TempDir(), "x.star")
			if c.spec != nil {
				c.spec(&s)
			}
			if c.builder != nil {
				key = c.builder
			}
			if c.out != "" {
				out = c.out
			}
			_, err := bundle.Build(t.Context(), s, key, out, nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// fat makes a release whose parts are all within bounds and whose sum is not.
func fat(s *bundle.Spec) {
	base := s.Variants[0]
	s.Variants = nil
	for i := range 4 {
		v := base
		v.Name = fmt.Sprintf("mk%d", i)
		v.Match = map[string]string{"model": v.Name}
		v.Run = nil
		for range 32 {
			v.Run = append(v.Run, string(bytes.Repeat([]byte("x"), 256)))
		}
		s.Variants = append(s.Variants, v)
	}
}

// Only a *DamagedError, ErrNotBundle and ErrFuture may come of a file that was
// changed after it was built.
func requireClear(t *testing.T, err error, what string, args ...any) {
	t.Helper()
	var damaged *bundle.DamagedError
	if !errors.As(err, &damaged) && !errors.Is(err, bundle.ErrNotBundle) && !errors.Is(err, canonical.ErrFuture) {
		t.Fatalf("%s: want a clear refusal, got %v", fmt.Sprintf(what, args...), err)
	}
}
