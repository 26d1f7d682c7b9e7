package api_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// star builds a release of one file and signs it, unless it is not to be listed.
func (l *laptop) star(version string, counter uint64, listed bool) (string, *manifest.Release) {
	dir := l.t.TempDir()
	require.NoError(l.t, os.WriteFile(filepath.Join(dir, "run"), bytes.Repeat([]byte("v"+version+"\n"), 100<<10), 0o755))
	path := filepath.Join(l.t.TempDir(), version+".star")
	spec := bundle.Spec{Component: "app", Version: version, Counter: counter, Variants: []bundle.VariantSpec{{Name: "all", Path: dir}}}
	rel, err := bundle.Build(l.ctx, spec, l.owner, path, nil)
	require.NoError(l.t, err)
	if listed {
		l.bundle, err = trust.Publish(l.bundle, []*manifest.Release{rel}, l.signers(), time.Now())
		require.NoError(l.t, err)
		require.NoError(l.t, bundle.SetMetadata(path, l.bundle.Encode()))
	}
	return path, rel
}

func TestStoreOfALaptop(t *testing.T) {
	l := newLaptop(t, "")
	path, rel := l.star("1.0", 1, true)
	image := rel.Variants[0].Manifest
	_, err := l.Import(l.ctx, path)
	require.NoError(t, err)

	s, err := l.Stored(l.ctx)
	require.NoError(t, err)
	require.Len(t, s.Images, 1)
	require.Equal(t, image, s.Images[0].Image)
	require.Equal(t, []string{"app 1.0 all"}, s.Images[0].Releases)
	require.Equal(t, "the swarm has not started", s.Images[0].Needed)
	require.True(t, s.Images[0].Served)
	require.Positive(t, s.Images[0].Bytes)
	require.Greater(t, s.Disk, s.Free)

	// What comes out is what went in.
	var out bytes.Buffer
	var told int64
	require.NoError(t, l.Export(l.ctx, "app", "1.0", true, &out, func(done, total int64) {
		require.LessOrEqual(t, told, done)
		require.LessOrEqual(t, done, total)
		told = done
	}))
	require.Equal(t, int64(out.Len()), told)
	again := filepath.Join(t.TempDir(), "again.star")
	require.NoError(t, os.WriteFile(again, out.Bytes(), 0o644))
	b, err := bundle.Open(again)
	require.NoError(t, err)
	require.NoError(t, b.Verify(l.ctx))
	require.Equal(t, rel.Digest(), b.Release().Digest())
	require.Equal(t, l.bundle.Encode(), b.Metadata())
	require.NoError(t, b.Close())
	problem(t, api.Usage, l.Export(l.ctx, "app", "9.9", true, &out, nil))

	// Nothing goes while the swarm has not started, but by hand.
	gone, err := l.Collect(l.ctx, false)
	require.NoError(t, err)
	require.Empty(t, gone.Removed)
	removed, err := l.RemoveRelease(l.ctx, "app", "1.0")
	require.NoError(t, err)
	require.Len(t, removed.Removed, 1)
	require.Contains(t, removed.Text, "app 1.0 all")
	require.NoDirExists(t, filepath.Join(l.dir, "images", image.String()))
	require.NoFileExists(t, filepath.Join(l.dir, "images", image.String()+".journal"))
	all, err := l.Releases(l.ctx)
	require.NoError(t, err)
	require.Empty(t, all.Releases[0].Held)
	problem(t, api.Usage, l.Export(l.ctx, "app", "1.0", true, &out, nil))
	_, err = l.RemoveRelease(l.ctx, "app", "1.0")
	problem(t, api.Usage, err)
	_, err = l.RemoveRelease(l.ctx, "app", "9.9")
	problem(t, api.Usage, err)

	// The export brings it back.
	_, err = l.Import(l.ctx, again)
	require.NoError(t, err)
	all, err = l.Releases(l.ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"all"}, all.Releases[0].Held)
}

func TestDamagedStoreIsMended(t *testing.T) {
	l := newLaptop(t, "")
	path, rel := l.star("1.0", 1, true)
	_, err := l.Import(l.ctx, path)
	require.NoError(t, err)
	whole, err := l.VerifyStore(l.ctx)
	require.NoError(t, err)
	require.True(t, whole.OK)
	require.Equal(t, int64(rel.Variants[0].Bytes), whole.Bytes)

	file := filepath.Join(l.dir, "images", rel.Variants[0].Manifest.String(), "run")
	scribble(t, file)
	bad, err := l.VerifyStore(l.ctx)
	require.NoError(t, err)
	require.False(t, bad.OK)
	require.Equal(t, 1, bad.Images[0].Damaged)
	require.Contains(t, bad.Images[0].Text, "import its .star file again")
	_, err = l.Import(l.ctx, path)
	require.NoError(t, err)
	whole, err = l.VerifyStore(l.ctx)
	require.NoError(t, err)
	require.True(t, whole.OK, whole.Text)
}

// A store above its watermark gives away what nobody needs, and keeps the rest.
func TestWatermarks(t *testing.T) {
	l := newLaptopOf(t, "", func(c *node.Config) { c.StoreHigh, c.StoreLow = node.Watermark{Bytes: 1}, node.Watermark{Bytes: 1} })
	old, gone := l.star("1.0", 1, true)
	fresh, kept := l.star("1.1", 2, true)
	require.NoError(t, bundle.SetMetadata(old, l.bundle.Encode()))
	_, err := l.PublishTrust(l.ctx, l.bundle.Encode())
	require.NoError(t, err)
	l.robot("arm-1")
	_, err = l.Begin(l.ctx, 1)
	require.NoError(t, err)
	l.until("an order", func(s *node.Status) bool { return s.Order != nil })
	_, err = l.Import(l.ctx, fresh)
	require.NoError(t, err)
	l.event("above the low watermark, and all that is left here is needed")
	_, err = l.Import(l.ctx, old)
	require.NoError(t, err)
	l.event("app 1.0 all")
	s, err := l.Stored(l.ctx)
	require.NoError(t, err)
	require.Len(t, s.Images, 1)
	require.Equal(t, kept.Variants[0].Manifest, s.Images[0].Image)
	require.NoDirExists(t, filepath.Join(l.dir, "images", gone.Variants[0].Manifest.String()))
	_, err = l.RemoveRelease(l.ctx, "app", "1.1")
	problem(t, api.Refused, err)
}

// A robot that was given a file serves it again after a restart.
func TestRobotKeepsImports(t *testing.T) {
	l := newLaptop(t, "")
	path, rel := l.star("1.0", 1, true)
	_, err := l.PublishTrust(l.ctx, l.bundle.Encode())
	require.NoError(t, err)
	i, err := l.Invite(l.ctx, node.InviteRequest{})
	require.NoError(t, err)
	cfg := loopback(filepath.Join(filepath.Dir(l.dir), "arm-1"))
	cfg.Name, cfg.Invite = "arm-1", i
	t.Run("before", func(t *testing.T) {
		n, _ := start(t, l.ctx, cfg)
		<-n.Ready()
		_, err := n.Import(l.ctx, path)
		require.NoError(t, err)
	})
	n, _ := start(t, l.ctx, cfg)
	<-n.Ready()
	s, err := n.Stored()
	require.NoError(t, err)
	require.Len(t, s.Images, 1)
	require.Equal(t, rel.Variants[0].Manifest, s.Images[0].Image)
	require.True(t, s.Images[0].Served)
	e, err := n.Export(l.ctx, "app", "1.0", true)
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

// event waits for one of kind store with this text.
func (l *laptop) event(text string) {
	l.t.Helper()
	for e, err := range l.Events(l.ctx, 0) {
		require.NoError(l.t, err)
		if e.Event != nil && e.Event.Kind == "store" && strings.Contains(e.Event.Text, text) {
			return
		}
	}
	require.Fail(l.t, "no event: "+text)
}

// scribble changes a byte of a sealed file.
func scribble(t *testing.T, file string) {
	require.NoError(t, os.Chmod(file, 0o644))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("X"), 1000)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chmod(file, fs.FileMode(0o555)))
}
