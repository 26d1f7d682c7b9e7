package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A name in a tar file: a path that ends in "/" is a directory, a body of "->x" a link,
// of "=>x" a hard link, of "dev" a device.
type named struct {
	path, body string
	mode       int64 // of a file; zero is 0o644
}

func packTar(t testing.TB, names ...named) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, n := range names {
		h := &tar.Header{Name: n.path, Mode: n.mode, Size: int64(len(n.body)), Typeflag: tar.TypeReg, ModTime: time.Unix(int64(i), 0), Uid: i}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		switch {
		case n.path[len(n.path)-1] == '/':
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o700, 0
		case n.body == "dev":
			h.Typeflag, h.Size = tar.TypeChar, 0
		case len(n.body) > 2 && n.body[:2] == "->":
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, n.body[2:], 0
		case len(n.body) > 2 && n.body[:2] == "=>":
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, n.body[2:], 0
		}
		require.NoError(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write([]byte(n.body))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zipped(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return w.EncodeAll(data, nil)
}

func writeFile(t testing.TB, name string, data []byte) string {
	p := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(p, data, 0o644))
	return p
}

// imageOf is the image that Build makes of a path for all robots.
func imageOf(t testing.TB, path string) (*manifest.Manifest, error) {
	out := filepath.Join(t.TempDir(), "x.star")
	s := bundle.Spec{Component: "nav", Version: "1", Counter: 1, Variants: []bundle.VariantSpec{{Name: "all", Path: path}}}
	r, err := bundle.Build(t.Context(), s, builder, out, nil)
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(out)
	require.NoError(t, err)
	defer b.Close()
	return b.Manifest(r.Variants[0].Manifest)
}

// appTar is app as a tar file.
func appTar(t testing.TB) []byte {
	return packTar(t,
		named{"./", "", 0}, named{"./bin/nav", string(noise(1, 300<<10)), 0o750}, named{"bin/latest", "->nav", 0}, named{"empty", "", 0},
		named{"share/map.txt.d/", "", 0}, named{"share/map.txt", string(prose(200 << 10)), 0}, named{"lib/libx.so", "->./libx.so.1", 0},
		named{"lib/libx.so.1", "code", 0}, named{"share.txt", "sorts between share and share/map.txt", 0},
	)
}

func TestTarIsItsTree(t *testing.T) {
	want, err := bundle.BuildImage(t.Context(), app(t), nil)
	require.NoError(t, err)
	plain := appTar(t)
	for name, data := range map[string][]byte{"a.tar": plain, "a.tar.gz": gzipped(t, plain), "a.tgz": gzipped(t, plain), "a.tar.zst": zipped(t, plain)} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, name, data)
			require.True(t, bundle.IsArchive(path))
			got, err := imageOf(t, path)
			require.NoError(t, err)
			require.Equal(t, want.Entries, got.Entries)
			require.Equal(t, want.Digest(), got.Digest())
		})
	}
	// By another name it is a file like any other.
	m, err := imageOf(t, writeFile(t, "a.bin", plain))
	require.NoError(t, err)
	require.Equal(t, "a.bin", m.Entries[0].Path)
	m, err = bundle.BuildImage(t.Context(), writeFile(t, "a.tar", plain), nil)
	require.NoError(t, err)
	require.Equal(t, "a.tar", m.Entries[0].Path)
}

func TestTarOfHardLinks(t *testing.T) {
	path := writeFile(t, "a.tar", packTar(t, named{"a", "same", 0o755}, named{"d/b", "=>a", 0}))
	m, err := imageOf(t, path)
	require.NoError(t, err)
	require.Equal(t, []manifest.Entry{
		{Path: "a", Kind: manifest.File, Mode: 0o755, Bytes: 4}, {Path: "d", Kind: manifest.Dir, Mode: 0o755},
		{Path: "d/b", Kind: manifest.File, Mode: 0o755, Bytes: 4},
	}, m.Entries)
}

func TestTarRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"cut":             {appTar(t)[:200<<10], "no whole tar file"},
		"cut between":     {packTar(t, named{"a", "x", 0}, named{"b", "y", 0})[:1024], "its end is missing"},
		"cut, zeros":      {packTar(t, named{"a", string(make([]byte, 512)), 0})[:1024], "its end is missing"},
		"nothing":         {nil, "its end is missing"},
		"packed and cut":  {gzipped(t, appTar(t))[:1<<10], "cut off or damaged"},
		"within a file":   {packTar(t, named{"run", "x", 0}, named{"run/x", "y", 0}), `"run/x" is in "run", which is a file there`},
		"climbs out":      {packTar(t, named{"../a", "x", 0}), "leads out of the image"},
		"link out":        {packTar(t, named{"a", "->../b", 0}), "leaves the image"},
		"absolute link":   {packTar(t, named{"a", "->/etc/passwd", 0}), "leaves the image"},
		"device":          {packTar(t, named{"a", "dev", 0}), "is a device"},
		"set-id":          {packTar(t, named{"a", "x", 0o4755}), "set-id"},
		"hard link":       {packTar(t, named{"a", "=>gone", 0}), "no such file stands before it"},
		"behind a link":   {packTar(t, named{"d/x", "x", 0}, named{"l", "->d", 0}, named{"l/y", "y", 0}), "l"},
		"empty":           {packTar(t), "is empty"},
		"xz":              {[]byte("\xfd7zXZ\x00 and so on"), "compressed with xz"},
		"Docker's old":    {packTar(t, named{"manifest.json", "[]", 0}, named{"repositories", "{}", 0}), "skopeo copy docker-archive:"},
		"layout of other": {layoutTar(t, "linux/arm64", "linux/amd64"), "linux/amd64, linux/arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := imageOf(t, writeFile(t, "a.tar", c.data))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// layers are those of a small container image: what the upper take away is gone.
func layers(t testing.TB) [][]byte {
	return [][]byte{
		packTar(t, named{"usr/bin/sh", "shell", 0o4755}, named{"bin", "->/usr/bin", 0}, named{"etc/old", "x", 0}, named{"etc/d/a", "a", 0},
			named{"etc/d/b", "b", 0}, named{"dev/null", "dev", 0}, named{"var/run", "->../../run", 0}, named{"opt/app", "1", 0}, named{"gone/x", "x", 0}),
		gzipped(t, packTar(t, named{"etc/.wh.old", "", 0}, named{"etc/d/.wh..wh..opq", "", 0}, named{"etc/d/c", "c", 0}, named{".wh.gone", "", 0},
			named{"bin/nav", "program", 0o755}, named{"bin/nav2", "=>usr/bin/sh", 0})),
		zipped(t, packTar(t, named{"opt/app/", "", 0}, named{"opt/app/run", "2", 0o755})),
	}
}

// A layoutDir is an OCI image layout on its way: paths and their bytes.
type layoutDir map[string][]byte

func (l layoutDir) blob(data []byte) map[string]any {
	d := manifest.Sum(data).String()
	l["blobs/sha256/"+d] = data
	return map[string]any{"digest": "sha256:" + d, "size": len(data)}
}

func (l layoutDir) image(t testing.TB, platform string, layers [][]byte) map[string]any {
	var list []map[string]any
	for _, x := range layers {
		list = append(list, l.blob(x))
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "layers": list})
	require.NoError(t, err)
	d := l.blob(data)
	if platform != "" {
		var os, arch string
		_, err := fmt.Sscanf(platform, "%5s/%s", &os, &arch)
		require.NoError(t, err)
		d["platform"] = map[string]string{"os": os, "architecture": arch}
	}
	return d
}

// layout makes one image of layers per platform; an empty platform is not told.
func layout(t testing.TB, platforms ...string) layoutDir {
	l := layoutDir{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	var list []map[string]any
	for _, p := range platforms {
		own := append(layers(t), packTar(t, named{"platform", p, 0}))
		list = append(list, l.image(t, p, own))
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": list})
	require.NoError(t, err)
	l["index.json"] = data
	return l
}

func layoutTar(t testing.TB, platforms ...string) []byte {
	var names []named
	for p, data := range layout(t, platforms...) {
		names = append(names, named{p, string(data), 0})
	}
	return packTar(t, names...)
}

func (l layoutDir) write(t testing.TB) string {
	dir := t.TempDir()
	for p, data := range l {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, p), data, 0o644))
	}
	return dir
}

// contained is what the layers make.
func contained(platform string) map[string]string {
	return map[string]string{
		"bin 0": "->usr/bin", "usr 755": "/", "usr/bin 755": "/", "usr/bin/sh 755": "shell", "usr/bin/nav 755": "program", "usr/bin/nav2 755": "shell",
		"etc 755": "/", "etc/d 755": "/", "etc/d/c 644": "c", "dev 755": "/", "var 755": "/", "var/run 0": "->../run",
		"opt 755": "/", "opt/app 755": "/", "opt/app/run 755": "2", "platform 644": platform,
	}
}

func TestLayout(t *testing.T) {
	for name, path := range map[string]string{
		"directory": layout(t, "").write(t), "tar": writeFile(t, "i.tar", layoutTar(t, "")), "tar.gz": writeFile(t, "i.tar.gz", gzipped(t, layoutTar(t, ""))),
		"platform told": layout(t, "linux/arm64").write(t),
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, bundle.IsArchive(path))
			s := spec(path)
			out, r := build(t, s)
			b := open(t, out)
			require.NoError(t, b.Verify(t.Context()))
			platform := ""
			if name == "platform told" {
				platform = "linux/arm64"
			}
			want := contained(platform)
			delete(want, "dev 755") // it held a device only
			require.Equal(t, want, unpack(t, b, r.Variants[0].Manifest))
		})
	}
}

func TestLayoutOfTwoPlatforms(t *testing.T) {
	path := layout(t, "linux/arm64", "linux/amd64").write(t)
	_, err := imageOf(t, path)
	require.ErrorIs(t, err, bundle.ErrPlatforms)
	s := spec(path, path)
	s.Variants[0].Match["platform"], s.Variants[1].Match["platform"] = "linux/arm64", "linux/amd64"
	out, r := build(t, s)
	b := open(t, out)
	require.Equal(t, "linux/arm64", unpack(t, b, r.Variants[0].Manifest)["platform 644"])
	require.Equal(t, "linux/amd64", unpack(t, b, r.Variants[1].Manifest)["platform 644"])
	s.Variants[1].Match["platform"] = "linux/riscv64"
	_, err = bundle.Build(t.Context(), s, builder, filepath.Join(t.TempDir(), "x.star"), nil)
	require.ErrorIs(t, err, bundle.ErrPlatforms)
	s = spec(layout(t, "linux/amd64").write(t)) // the only one, but another
	s.Variants[0].Match["platform"] = "linux/arm64"
	_, err = bundle.Build(t.Context(), s, builder, filepath.Join(t.TempDir(), "x.star"), nil)
	require.ErrorIs(t, err, bundle.ErrPlatforms)
}

func TestDamagedLayer(t *testing.T) {
	l := layout(t, "")
	for p, data := range l {
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			l[p] = append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1)
		}
	}
	_, err := imageOf(t, l.write(t))
	require.ErrorIs(t, err, manifest.ErrDigest)
	require.ErrorContains(t, err, "layer 2 of 4")
}

// What is there and no file is not replaced by the bundle.
func TestOutIsAFile(t *testing.T) {
	s := bundle.Spec{Component: "app", Version: "1.0", Counter: 1, Variants: []bundle.VariantSpec{{Name: "all", Path: writeFile(t, "run", []byte("x"))}}}
	_, err := bundle.Build(t.Context(), s, builder, os.DevNull, nil)
	require.ErrorContains(t, err, "is there and no file")
}

// A blob that is not there is missed by name.
func TestMissingLayer(t *testing.T) {
	l := layout(t, "")
	for p, data := range l {
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			delete(l, p)
		}
	}
	_, err := imageOf(t, l.write(t))
	require.ErrorContains(t, err, "is not in the image")
	require.ErrorContains(t, err, "copy the image again")
}

func TestLook(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\nMIG"
	path := writeFile(t, "a.tar", packTar(t, named{".git/", "", 0}, named{".git/server.key", key, 0}, named{"etc/tls.key", key, 0},
		named{"app/.env", "A=1", 0}, named{"m.gz", "\x1f\x8b" + string(noise(1, 100<<10)), 0}))
	f, err := bundle.Look(path, "")
	require.NoError(t, err)
	require.Len(t, f.Entries, 7)
	require.Len(t, f.Warnings, 4, "%v", f.Warnings)
	for i, want := range []string{"a.tar:.git: the history", "a.tar:app/.env: looks like", "a.tar:etc/tls.key: is a private key", "a.tar:m.gz: is compressed (gzip)"} {
		require.Contains(t, f.Warnings[i], want)
	}
	f, err = bundle.Look(layout(t, "").write(t), "")
	require.NoError(t, err)
	require.Len(t, f.Warnings, 2)
	require.Contains(t, f.Warnings[0], "set-id bit of 2 files")
	require.Contains(t, f.Warnings[1], "1 devices")
}
