package bundle_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// single lists an image as umoci and skopeo do: by its tag, with its platform in the
// config alone. Its one file says which it is.
func (l layoutDir) single(t testing.TB, platform, tag string) map[string]any {
	layer := l.blob(gzipped(t, packTar(t, named{"./", "", 0}, named{"is", tag, 0})))
	config := []byte(`{"architecture":"` + platform + `","os":"linux","config":{}}`)
	if platform == "" {
		config = []byte(`["of an artifact"]`)
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "config": l.blob(config), "layers": []any{layer}})
	require.NoError(t, err)
	d := l.blob(data)
	d["mediaType"] = "application/vnd.oci.image.manifest.v1+json"
	if tag != "" {
		d["annotations"] = map[string]string{"org.opencontainers.image.ref.name": tag}
	}
	return d
}

func (l layoutDir) index(t testing.TB, list ...map[string]any) []byte {
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": list})
	require.NoError(t, err)
	return data
}

// nested lists an index under a tag, as buildah's "manifest push --all" does.
func (l layoutDir) nested(t testing.TB, tag string, list ...map[string]any) map[string]any {
	d := l.blob(l.index(t, list...))
	d["mediaType"] = "application/vnd.oci.image.index.v1+json"
	d["annotations"] = map[string]string{"org.opencontainers.image.ref.name": tag}
	return d
}

func withPlatform(d map[string]any, arch string) map[string]any {
	d["platform"] = map[string]string{"os": "linux", "architecture": arch}
	return d
}

// Tools leave layouts in which one image is found by its platform, its tag, or both.
func TestChoiceOfAnImage(t *testing.T) {
	empty := func() layoutDir { return layoutDir{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} }
	one := func(arch string) func() layoutDir {
		return func() layoutDir {
			l := empty()
			l["index.json"] = l.index(t, l.single(t, arch, "v1"))
			return l
		}
	}
	three := func() layoutDir {
		l := empty()
		again := l.single(t, "arm64", "v2")
		again["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "latest"}
		l["index.json"] = l.index(t, l.single(t, "arm64", "v1"), l.single(t, "arm64", "v2"), again, l.single(t, "amd64", "pc"))
		return l
	}
	lists := func() layoutDir {
		l := empty()
		old := l.nested(t, "old", withPlatform(l.single(t, "arm64", "old-arm"), "arm64"), withPlatform(l.single(t, "amd64", "old-amd"), "amd64"))
		fresh := l.nested(t, "new", withPlatform(l.single(t, "arm64", "new-arm"), "arm64"), withPlatform(l.single(t, "amd64", "new-amd"), "amd64"))
		l["index.json"] = l.index(t, old, fresh)
		return l
	}
	arms := func() layoutDir {
		l := empty()
		l["index.json"] = l.index(t, l.nested(t, "all", withPlatform(l.single(t, "arm", "v6"), "arm"), withPlatform(l.single(t, "arm", "v7"), "arm")))
		return l
	}
	for name, c := range map[string]struct {
		layout             func() layoutDir
		tag, platform, got string
		err                error
		says               string
	}{
		"the only one":                  {layout: one("arm64"), got: "v1"},
		"its config says the platform":  {layout: one("arm64"), platform: "linux/arm64", got: "v1"},
		"the config says another":       {layout: one("amd64"), platform: "linux/arm64", err: bundle.ErrPlatforms, says: "(linux/amd64), and 0 of them are for linux/arm64"},
		"the config is no image's":      {layout: one(""), platform: "linux/arm64", got: "v1"},
		"its tag":                       {layout: one("arm64"), tag: ":v1", got: "v1"},
		"no such tag":                   {layout: one("arm64"), tag: ":v3", err: bundle.ErrTags, says: "none of that tag, but v1 (linux/arm64)"},
		"several tags":                  {layout: three, err: bundle.ErrTags, says: "latest (linux/arm64), pc (linux/amd64), v1 (linux/arm64), v2 (linux/arm64)"},
		"several tags for the platform": {layout: three, platform: "linux/arm64", err: bundle.ErrTags, says: "latest (linux/arm64), v1 (linux/arm64), v2 (linux/arm64): name"},
		"one tag for the platform":      {layout: three, platform: "linux/amd64", got: "pc"},
		"one of several":                {layout: three, tag: ":v1", got: "v1"},
		"one image under two tags":      {layout: three, tag: ":latest", got: "v2"},
		"a tag of another platform":     {layout: three, tag: ":pc", platform: "linux/arm64", err: bundle.ErrPlatforms},
		"in one of several indexes":     {layout: lists, tag: ":new", platform: "linux/arm64", got: "new-arm"},
		"in several indexes":            {layout: lists, platform: "linux/arm64", err: bundle.ErrTags, says: "new (linux/arm64), old (linux/arm64)"},
		"an index of two":               {layout: lists, tag: ":old", err: bundle.ErrPlatforms, says: "(linux/amd64, linux/arm64); name one"},
		"two of one platform":           {layout: arms, platform: "linux/arm", err: bundle.ErrPlatforms, says: "and 2 of them are for linux/arm"},
		"nothing":                       {layout: func() layoutDir { l := empty(); l["index.json"] = l.index(t); return l }, says: "no image with layers"},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.layout().write(t) + c.tag
			require.True(t, bundle.IsArchive(path))
			s := spec(path)
			if c.platform != "" {
				s.Variants[0].Match["platform"] = c.platform
			}
			if c.got == "" {
				_, err := bundle.Look(path, c.platform)
				require.ErrorContains(t, err, c.says)
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
				}
				return
			}
			out, r := build(t, s)
			require.Equal(t, c.got, unpack(t, open(t, out), r.Variants[0].Manifest)["is 644"])
		})
	}
}

// A config that is not there is missed, not passed over: the layout is not whole.
func TestMissingConfig(t *testing.T) {
	l := layoutDir{"oci-layout": []byte(`{}`)}
	l["index.json"] = l.index(t, l.single(t, "arm64", "v1"))
	delete(l, "blobs/sha256/"+manifest.Sum([]byte(`{"architecture":"arm64","os":"linux","config":{}}`)).String())
	_, err := imageOf(t, l.write(t))
	require.ErrorContains(t, err, "is not in the image")
}

// Where a layer puts a link in place of a directory, umoci 0.4.7 writes the link first
// and then what was in the directory as taken away. What the link leads to stays.
func TestWhiteoutBehindALinkOfItsLayer(t *testing.T) {
	l := layoutDir{"oci-layout": []byte(`{}`)}
	below := packTar(t, named{"opt/app/", "", 0}, named{"opt/app/one", "gone", 0}, named{"srv/one", "stays", 0}, named{"d2/x", "gone", 0},
		named{"lib", "->usr/lib", 0}, named{"usr/lib/old", "gone", 0})
	above := packTar(t, named{"d2", "file", 0}, named{"d2/.wh.x", "", 0}, named{"opt/", "", 0}, named{"opt/app", "->../srv", 0}, named{"opt/app/.wh.one", "", 0},
		named{"lib/.wh.old", "", 0}, named{"lib/new", "new", 0}) // behind a link that stands below it is what that leads to
	l["index.json"] = l.index(t, l.image(t, "", [][]byte{below, gzipped(t, above)}))
	path := l.write(t)
	out, r := build(t, spec(path))
	require.Equal(t, map[string]string{
		"d2 644": "file", "lib 0": "->usr/lib", "opt 755": "/", "opt/app 0": "->../srv", "srv 755": "/", "srv/one 644": "stays",
		"usr 755": "/", "usr/lib 755": "/", "usr/lib/new 644": "new",
	}, unpack(t, open(t, out), r.Variants[0].Manifest))
}

// What skopeo writes to dir: looks like any directory, and is not what anybody ships.
func TestCopyOfSkopeo(t *testing.T) {
	dir := plant(t, map[string]string{"version": "Directory Transport Version: 1.1\n", "manifest.json": "{}", "0f3a": "layer"})
	require.True(t, bundle.IsArchive(dir))
	_, err := imageOf(t, dir)
	require.ErrorContains(t, err, "skopeo copy dir:"+dir+" oci:DIR")
	_, err = imageOf(t, plant(t, map[string]string{"version": "1.1\n", "manifest.json": "{}"}))
	require.NoError(t, err)
}

// A path with a colon is that path, if it is there.
func TestPathWithAColon(t *testing.T) {
	dir := plant(t, map[string]string{"a:b/run": "x"})
	m, err := imageOf(t, dir+"/a:b")
	require.NoError(t, err)
	require.Equal(t, "run", m.Entries[0].Path)
	require.False(t, bundle.IsArchive(dir+"/a:c"))
	_, err = imageOf(t, writeFile(t, "a.tar", appTar(t))+":v1")
	require.ErrorContains(t, err, "only an OCI image layout has tags")
}
