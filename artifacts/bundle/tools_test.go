package bundle_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
)

// tool runs a program that makes container images, in dir; the test is skipped where it
// is not installed.
func tool(t *testing.T, dir string, argv ...string) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("needs %s: apt-get install %s", argv[0], argv[0])
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%v: %s", argv, out)
}

// umociImage makes the layout "img" in dir, whose image v1 has the first tree, and v2 a
// layer more that makes the second of it. It returns the second as a directory.
func umociImage(t *testing.T, dir string) string {
	root := []string{}
	if os.Getuid() != 0 {
		root = append(root, "--rootless")
	}
	unpacked := func(tag, to string) string {
		tool(t, dir, append(append([]string{"umoci", "unpack"}, root...), "--image", "img:"+tag, to)...)
		return filepath.Join(dir, to, "rootfs")
	}
	repack := func(tag, from string) { tool(t, dir, "umoci", "repack", "--image", "img:"+tag, from) }
	script := func(in, text string) {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", text)
		cmd.Dir = in
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	tool(t, dir, "umoci", "init", "--layout", "img")
	tool(t, dir, "umoci", "new", "--image", "img:v1")
	script(unpacked("v1", "one"), `
		mkdir -p usr/bin etc/d opt/app gone/deep srv/data d2 empty
		echo shell > usr/bin/sh; chmod 755 usr/bin/sh; ln usr/bin/sh usr/bin/bash
		ln -s usr/bin bin; ln -s ../srv etc/link
		echo a > etc/d/a; echo b > etc/d/b; echo old > etc/old; echo x > gone/deep/x
		echo one > opt/app/one; echo stays > srv/one; echo x > d2/x; ln -s srv dir
		echo umlaut > "srv/data/with space and ü"; truncate -s 100000 srv/sparse
		long=srv/data/$(printf '%0150d' 0); echo long > $long`)
	repack("v1", "one")
	second := unpacked("v1", "two")
	script(second, `
		rm etc/old; rm -r etc/d; mkdir etc/d; echo c > etc/d/c; rm -r gone
		rm -r opt/app; ln -s ../srv opt/app
		rm -r d2; echo file > d2
		rm dir; mkdir dir; echo y > dir/y
		echo nav > bin/nav; chmod 755 bin/nav; rm usr/bin/bash`)
	repack("v2", "two")
	return second
}

// What umoci and skopeo write is read as the tree that it was made of.
func TestLayoutsOfTools(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other programs")
	}
	dir := t.TempDir()
	want, err := bundle.BuildImage(t.Context(), umociImage(t, dir), nil)
	require.NoError(t, err)
	same := func(t *testing.T, path string) {
		f, err := bundle.Look(filepath.Join(dir, path), "")
		require.NoError(t, err)
		require.Equal(t, want.Entries, f.Entries)
		require.Empty(t, f.Warnings)
		m, err := imageOf(t, filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, want.Digest(), m.Digest())
	}
	t.Run("umoci", func(t *testing.T) {
		same(t, "img:v2")
		_, err := bundle.Look(filepath.Join(dir, "img"), "")
		require.ErrorIs(t, err, bundle.ErrTags)
	})
	for name, c := range map[string][]string{
		"one.dir":  {"oci:img:v2", "oci:one.dir"},
		"one.tar":  {"oci:img:v2", "oci-archive:one.tar:v2"},
		"zstd.dir": {"--dest-compress", "--dest-compress-format", "zstd", "docker-archive:docker.tar", "oci:zstd.dir"},
		"raw.dir":  {"--dest-oci-accept-uncompressed-layers", "docker-archive:docker.tar", "oci:raw.dir"},
	} {
		t.Run("skopeo "+name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(dir, "docker.tar")); err != nil {
				tool(t, dir, "skopeo", "--insecure-policy", "copy", "oci:img:v2", "docker-archive:docker.tar")
			}
			tool(t, dir, append([]string{"skopeo", "--insecure-policy", "copy"}, c...)...)
			same(t, name)
		})
	}
	t.Run("skopeo's other forms", func(t *testing.T) {
		tool(t, dir, "skopeo", "--insecure-policy", "copy", "oci:img:v2", "dir:copy")
		for _, path := range []string{"copy", "docker.tar"} {
			_, err := bundle.Look(filepath.Join(dir, path), "")
			require.ErrorContains(t, err, "convert it: skopeo copy ")
		}
	})
}
