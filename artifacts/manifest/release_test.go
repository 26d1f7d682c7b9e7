package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

func variant(name string, match ...string) manifest.Variant {
	v := manifest.Variant{Name: name, Match: map[string]string{}, Manifest: sum(name), ManifestBytes: 400, Bytes: 90_000, Driver: "dirslot"}
	for i := 0; i < len(match); i += 2 {
		v.Match[match[i]] = match[i+1]
	}
	return v
}

func release(variants ...manifest.Variant) *manifest.Release {
	if len(variants) == 0 {
		v := variant("jetson", "model", "mk2", manifest.DefaultComponent, "x", "platform", "linux/arm64")
		v.Requires, v.Run = []string{"atomic", "revert"}, []string{"bin/nav", "--fast"}
		variants = []manifest.Variant{v, variant("pi", "model", "mk1")}
	}
	return &manifest.Release{
		Format: manifest.ReleaseFormat, Component: "nav", Version: "1.5.0+wind", Counter: 12, Variants: variants,
		From: []string{"1.4.0", "1.4.1"}, Fallbacks: []manifest.Ref{{Version: "1.4.1", Counter: 11, Digest: sum("old")}},
		SecurityFloor: 9, Provenance: sum("provenance"), Notes: "holds its heading in wind",
	}
}

func TestReleaseVector(t *testing.T) {
	r := release()
	require.NoError(t, r.Check())
	data := vector.Check(t, "release", "release nav 1.5.0+wind with two variants and every field set", r.Encode())
	got, err := manifest.DecodeRelease(data)
	require.NoError(t, err)
	require.Equal(t, r.Digest(), got.Digest())
	require.Equal(t, manifest.Ref{Version: "1.5.0+wind", Counter: 12, Digest: manifest.Sum(data)}, got.Ref())
	require.Equal(t, "nav/1.5.0+wind", got.Target())
	require.Equal(t, "nav 1.5.0+wind: 2 variants (jetson, pi)", got.Describe())
}

func TestReleaseCheckRefuses(t *testing.T) {
	first := func(how func(*manifest.Variant)) func(*manifest.Release) {
		return func(r *manifest.Release) { how(&r.Variants[0]) }
	}
	for name, c := range map[string]struct {
		bend func(*manifest.Release)
		want string
	}{
		"format":           {func(r *manifest.Release) { r.Format = 0 }, "format 0"},
		"component":        {func(r *manifest.Release) { r.Component = "Nav" }, `component "Nav"`},
		"component line":   {func(r *manifest.Release) { r.Component = "nav\n" }, "component"},
		"component long":   {func(r *manifest.Release) { r.Component = strings.Repeat("n", 33) }, "component"},
		"version":          {func(r *manifest.Release) { r.Version = "../1" }, "version"},
		"version empty":    {func(r *manifest.Release) { r.Version = "" }, "version"},
		"version dot":      {func(r *manifest.Release) { r.Version = "." }, "version"},
		"counter":          {func(r *manifest.Release) { r.Counter, r.SecurityFloor = 0, 0 }, "counter 0"},
		"no variants":      {func(r *manifest.Release) { r.Variants = nil }, "0 variants"},
		"many variants":    {func(r *manifest.Release) { r.Variants = many(manifest.MaxVariants + 1) }, "33 variants"},
		"unsorted":         {func(r *manifest.Release) { v := r.Variants; v[0], v[1] = v[1], v[0] }, "not sorted"},
		"name twice":       {func(r *manifest.Release) { r.Variants[1].Name = "jetson" }, "stands twice"},
		"many stones":      {func(r *manifest.Release) { r.From = make([]string, manifest.MaxFrom+1) }, "stepping stones"},
		"stone":            {func(r *manifest.Release) { r.From[0] = "" }, "stepping stone"},
		"many fallbacks":   {func(r *manifest.Release) { r.Fallbacks = make([]manifest.Ref, manifest.MaxFrom+1) }, "fallbacks"},
		"fallback to none": {func(r *manifest.Release) { r.Fallbacks[0].Digest = manifest.Digest{} }, "names no release"},
		"fallback counter": {func(r *manifest.Release) { r.Fallbacks[0].Counter = 0 }, "names no release"},
		"fallback version": {func(r *manifest.Release) { r.Fallbacks[0].Version = "a b" }, "names no release"},
		"floor above":      {func(r *manifest.Release) { r.SecurityFloor = 13 }, "above its own counter"},
		"notes":            {func(r *manifest.Release) { r.Notes = strings.Repeat("n", 201) }, "201 bytes"},
		"variant name":     {first(func(v *manifest.Variant) { v.Name = "Jetson" }), "Jetson"},
		"driver":           {first(func(v *manifest.Variant) { v.Driver = "" }), "driver"},
		"no manifest":      {first(func(v *manifest.Variant) { v.Manifest = manifest.Digest{} }), "no manifest"},
		"empty manifest":   {first(func(v *manifest.Variant) { v.ManifestBytes = 0 }), "no manifest"},
		"fat manifest":     {first(func(v *manifest.Variant) { v.ManifestBytes = manifest.MaxBytes + 1 }), "no manifest"},
		"nine labels":      {first(func(v *manifest.Variant) { v.Match = labels(9) }), "more than 8"},
		"bad label":        {first(func(v *manifest.Variant) { v.Match["A"] = "x" }), "label"},
		"empty value":      {first(func(v *manifest.Variant) { v.Match["a"] = "" }), "label"},
		"long value":       {first(func(v *manifest.Variant) { v.Match["a"] = strings.Repeat("x", 65) }), "label"},
		"nine needs":       {first(func(v *manifest.Variant) { v.Requires = make([]string, 9) }), "more than 8"},
		"need":             {first(func(v *manifest.Variant) { v.Requires = []string{"Atomic"} }), "requirement"},
		"33 words":         {first(func(v *manifest.Variant) { v.Run = make([]string, 33) }), "more than 8"},
		"long word":        {first(func(v *manifest.Variant) { v.Run = []string{strings.Repeat("x", 257)} }), "256 bytes"},
		"overlap":          {first(func(v *manifest.Variant) { delete(v.Match, "model") }), "overlap"},
	} {
		t.Run(name, func(t *testing.T) {
			r := release()
			c.bend(r)
			err := r.Check()
			require.ErrorIs(t, err, manifest.ErrInvalid)
			require.ErrorContains(t, err, c.want)
			got, err := manifest.DecodeRelease(r.Encode())
			require.Error(t, err)
			require.Nil(t, got)
		})
	}
	r := release()
	r.Format = 2
	_, err := manifest.DecodeRelease(r.Encode())
	require.ErrorIs(t, err, canonical.ErrFuture)
}

func labels(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[fmt.Sprintf("l%d", i)] = "v"
	}
	return out
}

func many(n int) []manifest.Variant {
	var out []manifest.Variant
	for i := range n {
		out = append(out, variant(fmt.Sprintf("v%02d", i), "model", fmt.Sprint(i)))
	}
	return out
}

// A release passes Check if and only if no robot could match two of its variants.
func TestOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		variants []manifest.Variant
		overlap  bool
	}{
		"one for all":       {[]manifest.Variant{variant("a")}, false},
		"two for all":       {[]manifest.Variant{variant("a"), variant("b")}, true},
		"one within other":  {[]manifest.Variant{variant("a"), variant("b", "model", "mk1")}, true},
		"different labels":  {[]manifest.Variant{variant("a", "model", "mk1"), variant("b", "site", "north")}, true},
		"same label apart":  {[]manifest.Variant{variant("a", "model", "mk1"), variant("b", "model", "mk2")}, false},
		"same value":        {[]manifest.Variant{variant("a", "model", "mk1"), variant("b", "model", "mk1")}, true},
		"second label":      {[]manifest.Variant{variant("a", "model", "mk1", "site", "n"), variant("b", "model", "mk1", "site", "s")}, false},
		"shared but apart":  {[]manifest.Variant{variant("a", "model", "mk1", "site", "n"), variant("b", "model", "mk2")}, false},
		"third meets first": {[]manifest.Variant{variant("a", "m", "1"), variant("b", "m", "2"), variant("c", "s", "n", "m", "1")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := release(c.variants...).Check()
			if c.overlap {
				require.ErrorContains(t, err, "overlap")
				return
			}
			require.NoError(t, err)
		})
	}
}

func TestFor(t *testing.T) {
	r := release(variant("arm", "platform", "linux/arm64", "model", "mk2"), variant("x86", "platform", "linux/amd64"))
	require.NoError(t, r.Check())
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"all labels":      {map[string]string{"platform": "linux/arm64", "model": "mk2", "site": "n"}, "arm"},
		"other variant":   {map[string]string{"platform": "linux/amd64"}, "x86"},
		"one label short": {map[string]string{"platform": "linux/arm64"}, ""},
		"other model":     {map[string]string{"platform": "linux/arm64", "model": "mk3"}, ""},
		"no labels":       {nil, ""},
	} {
		v := r.For(c.labels)
		if c.want == "" {
			require.Nil(t, v, name)
			continue
		}
		require.NotNil(t, v, name)
		require.Equal(t, c.want, v.Name, name)
	}
	require.Equal(t, "all", release(variant("all")).For(nil).Name)
}

func TestMayReplaceAndFallBack(t *testing.T) {
	r := release()
	require.True(t, r.MayReplace(manifest.Ref{}))
	require.True(t, r.MayReplace(manifest.Ref{Version: "1.4.0", Counter: 10, Digest: sum("any")}))
	require.False(t, r.MayReplace(manifest.Ref{Version: "1.3.0", Counter: 9, Digest: sum("any")}))
	r.From = nil
	require.True(t, r.MayReplace(manifest.Ref{Version: "1.3.0", Counter: 9, Digest: sum("any")}))
	require.True(t, r.MayFallBackTo(r.Fallbacks[0]))
	require.False(t, r.MayFallBackTo(manifest.Ref{Version: "1.4.1", Counter: 11, Digest: sum("imitation")}))
	require.False(t, r.MayFallBackTo(manifest.Ref{}))
}

func TestDigestText(t *testing.T) {
	d := sum("x")
	for _, s := range []string{d.String(), "sha256:" + d.String(), strings.ToUpper(d.String())} {
		got, err := manifest.ParseDigest(s)
		require.NoError(t, err, s)
		require.Equal(t, d, got)
	}
	for _, s := range []string{"", d.String()[1:], d.String() + "0", "sha256:", strings.Repeat("z", 64), "sha512:" + d.String()} {
		got, err := manifest.ParseDigest(s)
		require.Error(t, err, s)
		require.True(t, got.IsZero(), s)
	}
	var got manifest.Digest
	b, err := d.MarshalText()
	require.NoError(t, err)
	require.NoError(t, got.UnmarshalText(b))
	require.Equal(t, d, got)
	require.Error(t, got.UnmarshalText([]byte("no")))
	require.Equal(t, d, got, "a failed parse leaves the value")
	require.Equal(t, d.String()[:12], d.Short())
	require.Equal(t, "none", manifest.Ref{}.String())
}

func FuzzRelease(f *testing.F) {
	f.Add(release().Encode())
	f.Add(release(many(32)...).Encode())
	f.Add((&manifest.Release{}).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := manifest.DecodeRelease(data)
		if err != nil {
			require.Nil(t, r)
			return
		}
		require.Equal(t, data, r.Encode())
		r.For(map[string]string{"model": "mk1"})
	})
}
