package bundle_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/bundle"
)

func TestBuildImageRefuses(t *testing.T) {
	cases := map[string]struct {
		make func(t *testing.T, dir string)
		want []string
	}{
		"pipe": {func(t *testing.T, dir string) {
			require.NoError(t, unix.Mkfifo(filepath.Join(dir, "sub", "pipe"), 0o644))
		}, []string{"sub/pipe", "named pipe", "remove it"}},
		"socket": {func(t *testing.T, dir string) {
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
		}, []string{`"s"`, "socket"}},
		"set-id": {func(t *testing.T, dir string) {
			p := filepath.Join(dir, "sub", "su")
			require.NoError(t, os.WriteFile(p, []byte("x"), 0o755))
			require.NoError(t, os.Chmod(p, 0o755|os.ModeSetuid))
		}, []string{"sub/su", "set-id", "chmod ug-s"}},
		"absolute link": {func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "sub", "l")))
		}, []string{"sub/l", "/etc/passwd", "ln -sr"}},
		"link above": {func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("../../x", filepath.Join(dir, "sub", "l")))
		}, []string{"sub/l", "leaves the image"}},
		"link through a link": {func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("..", filepath.Join(dir, "sub", "up")))
			require.NoError(t, os.Symlink("sub/up/../../etc", filepath.Join(dir, "l")))
		}, []string{`"l"`, ".. after a name"}},
		"backslash": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, `a\b`), nil, 0o644))
		}, []string{`a\\b`, "rename it"}},
		"not UTF-8": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a\xff"), nil, 0o644))
		}, []string{`a\xff`, "rename it"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := plant(t, map[string]string{"sub/ok": "fine"})
			c.make(t, dir)
			_, err := bundle.BuildImage(t.Context(), dir, nil)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestBuildImageRefusesEmptyAndMissing(t *testing.T) {
	_, err := bundle.BuildImage(t.Context(), t.TempDir(), nil)
	require.ErrorContains(t, err, "is empty")
	_, err = bundle.BuildImage(t.Context(), filepath.Join(t.TempDir(), "gone"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = bundle.BuildImage(t.Context(), os.DevNull, nil)
	require.ErrorContains(t, err, "device")
}

func TestWarnings(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"
	dir := plant(t, map[string]string{
		".git/config":     "x",
		"src/.git":        "gitdir: elsewhere",
		".env":            "TOKEN=1",
		"conf/.env.local": "TOKEN=1",
		"tls/server.pem":  key,
		"tls/ca.pem":      "-----BEGIN CERTIFICATE-----",
		"id_ed25519":      key,
		"keyboard.txt":    "qwerty",
		"docs.txt":        key, // an example, by its name
		"model.gz":        "\x1f\x8b" + string(noise(1, 100<<10)),
		"model.xz":        "\xfd7zXZ\x00" + string(noise(1, 100<<10)),
		"model.zst":       "\x28\xb5\x2f\xfd" + string(noise(1, 100<<10)),
		"man.gz":          "\x1f\x8bsmall",
	})
	var got []string
	for _, w := range bundle.Warnings(dir) {
		for i := range w {
			if w[i] == ':' {
				rel, err := filepath.Rel(dir, w[:i])
				require.NoError(t, err)
				got = append(got, rel)
				break
			}
		}
	}
	require.ElementsMatch(t, []string{".git", "src/.git", ".env", "conf/.env.local", "tls/server.pem", "id_ed25519", "model.gz", "model.xz", "model.zst"}, got)
	require.Len(t, bundle.Warnings(filepath.Join(dir, "model.gz")), 1)
	require.Empty(t, bundle.Warnings(app(t)))
	require.Empty(t, bundle.Warnings(filepath.Join(dir, "gone")))
}
