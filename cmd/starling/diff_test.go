package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
)

// starOf builds a release of some files into a .star file and opens it.
func starOf(t *testing.T, version string, files map[string][]byte) *side {
	dir := t.TempDir()
	for name, data := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	star := filepath.Join(t.TempDir(), version+".star")
	_, err := bundle.Build(t.Context(), bundle.Spec{
		Component: "app", Version: version, Counter: 1, Variants: []bundle.VariantSpec{{Name: "all", Path: dir}},
	}, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), star, nil)
	require.NoError(t, err)
	s, err := (&cli{}).side(t.Context(), star, "app")
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// random is n bytes that no compressor makes smaller.
func random(seed uint64, n int) []byte {
	r, b := rand.New(rand.NewPCG(seed, 0)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// What a robot would fetch is told by file, with the reason, and for tools.
func TestDiffOfTwoFiles(t *testing.T) {
	nav, map1 := random(1, 1<<20), random(2, 700<<10)
	moved := bytes.Clone(nav)
	for i := 0; i+4 < len(moved); i += 80 { // a program that was linked anew
		binary.LittleEndian.PutUint32(moved[i:], binary.LittleEndian.Uint32(moved[i:])+0x1a40)
	}
	packed := append([]byte("\x1f\x8b"), random(3, 200<<10)...)
	old := starOf(t, "1.4.2", map[string][]byte{"bin/nav": nav, "map": map1})
	fresh := starOf(t, "1.5.0", map[string][]byte{"bin/nav": moved, "map": map1, "model.gz": packed})
	d, err := diff(t.Context(), old, fresh)
	require.NoError(t, err)
	require.Len(t, d.Variants, 1)
	v := d.Variants[0]
	require.Equal(t, v.Bytes, v.Copied+v.Missing)
	require.Greater(t, v.Copied, int64(300<<10), "most of the map is there already")
	require.Greater(t, v.Wire, int64(1200<<10))
	require.Less(t, v.Fetch, int64(300<<10), "the pack makes the program; the model must come whole")
	require.Equal(t, "bin/nav", v.Files[0].Path)
	require.Equal(t, "changed", v.Files[0].Why)

	var out bytes.Buffer
	c := &cli{out: &out}
	c.sayDiff(d)
	require.Regexp(t, `^1\.4\.2 → 1\.5\.0, variant all: an image of 1\.9 MiB, of which a robot has \d+\.\d KiB
  1\.\d MiB is new: 1\.\d MiB as chunks
  with a pack 2\d\d\.\d KiB, 1\d\.\d % of the image
  FILE +SIZE +NEW +WHY
  bin/nav +1\.0 MiB +1\.0 MiB +changed
  map +700\.0 KiB +\d+\.\d KiB +changed
  model\.gz +200\.0 KiB +200\.0 KiB +new; compressed \(gzip\), so every change is a change of all of it: ship it unpacked
$`, out.String())

	same, err := diff(t.Context(), old, starOf(t, "1.4.3", map[string][]byte{"bin/nav": nav, "map": map1}))
	require.NoError(t, err)
	require.Zero(t, same.Variants[0].Fetch)
	out.Reset()
	c.sayDiff(same)
	require.Contains(t, out.String(), "nothing is fetched")
}
