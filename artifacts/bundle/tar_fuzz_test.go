package bundle

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// tarOf packs names that hold as many zeros as they say.
func tarOf(t testing.TB, names ...tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range names {
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// FuzzTar reads tar files, alone or as a layer of a container over itself: hostile bytes
// are refused, and what is taken is an image that a robot would take.
func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, tar.Header{Name: "bin/run", Mode: 0o755, Typeflag: tar.TypeReg, Size: 3}, tar.Header{Name: "lib", Linkname: "bin", Typeflag: tar.TypeSymlink},
		tar.Header{Name: "bin/again", Linkname: "bin/run", Typeflag: tar.TypeLink}, tar.Header{Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir}), false)
	f.Add(tarOf(f, tar.Header{Name: "etc/.wh..wh..opq", Typeflag: tar.TypeReg}, tar.Header{Name: "loop", Linkname: "/loop/../loop", Typeflag: tar.TypeSymlink},
		tar.Header{Name: "loop/.wh.x", Typeflag: tar.TypeReg}, tar.Header{Name: "dev/null", Typeflag: tar.TypeChar}, tar.Header{Name: "loop/y", Typeflag: tar.TypeReg, Size: 3}), true)
	f.Fuzz(func(t *testing.T, data []byte, layered bool) {
		path := filepath.Join(t.TempDir(), "a.tar")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		tr, err := openOf(path, func(tr *tree, real string, _ os.FileInfo) error {
			if !layered {
				return tr.openTar(real)
			}
			return tr.openTwice(real)
		})
		if err != nil {
			return
		}
		m, err := tr.cut(t.Context(), nil, func(*block) error { return nil })
		require.NoError(t, tr.close())
		if err == nil {
			require.NoError(t, m.Check())
			require.Equal(t, tr.bytes, m.Bytes())
		}
	})
}

// openTwice lists a tar file as a layer over itself.
func (t *tree) openTwice(real string) error {
	a := &archive{path: t.path}
	t.from = a
	f, err := os.Open(real)
	if err != nil {
		return err
	}
	body, err := a.plain(f)
	if err != nil {
		return err
	}
	names := map[string]*packed{}
	for range 2 {
		l, err := readTar(body, names)
		if err != nil {
			return err
		}
		l.over(names)
	}
	t.contain(names)
	return t.fill(a, names)
}
