package exact

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestEdit(t *testing.T) {
	const src = "package runtime\n\nfunc retake() int {\n\treturn 1\n}\n\nvar a, b = 1, 2\n"
	patch := func(name, file, find, with string) Patch {
		return Patch{Name: name, File: file, find: find, with: with}
	}
	for _, c := range []struct {
		name    string
		patches []Patch
		want    string // of runtime/a.go
		faults  []string
	}{
		{
			name:    "two edits of one file",
			patches: []Patch{patch("one", "runtime/a.go", "return 1", "return 2"), patch("two", "runtime/a.go", "a, b", "b, a")},
			want:    "package runtime\n\nfunc retake() int {\n\treturn 2\n}\n\nvar b, a = 1, 2\n",
		},
		{
			name:    "a pattern is missing",
			patches: []Patch{patch("one", "runtime/a.go", "return 1", "return 2"), patch("gone", "runtime/a.go", "return 7", "")},
			faults:  []string{`gone (runtime/a.go): pattern not found: "return 7"`},
		},
		{
			name:    "a pattern fits twice",
			patches: []Patch{patch("vague", "runtime/a.go", "1", "2")},
			faults:  []string{`vague (runtime/a.go): pattern found 2 times: "1"`},
		},
		{
			name:    "a file is missing, and all faults are told",
			patches: []Patch{patch("moved", "runtime/b.go", "x", "y"), patch("gone", "runtime/a.go", "\treturn 7\n", "")},
			faults: []string{
				"moved (runtime/b.go): open runtime/b.go: file does not exist",
				`gone (runtime/a.go): pattern not found: "return 7"`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			edited, applied, err := edit(fstest.MapFS{"runtime/a.go": {Data: []byte(src)}}, c.patches)
			require.Len(t, applied, len(c.patches))
			var faults []string
			for _, p := range applied {
				if p.Err != nil {
					faults = append(faults, p.String())
				}
			}
			require.Equal(t, c.faults, faults)
			if c.faults != nil {
				require.ErrorIs(t, err, ErrUnfit)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, string(edited["runtime/a.go"]))
			require.Equal(t, []string{"runtime/a.go"}, slices.Collect(maps.Keys(edited)))
		})
	}
}

// fakeToolchain is a Go whose only source file is runtime/a.go.
func fakeToolchain(t *testing.T) toolchain {
	root := t.TempDir()
	file := filepath.Join(root, "src", "runtime", "a.go")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte("return 1\n"), 0o644))
	return toolchain{root: root, version: "go1.0"}
}

func TestOverlayFiles(t *testing.T) {
	tc, cache := fakeToolchain(t), t.TempDir()
	ps := []Patch{{Name: "one", File: "runtime/a.go", find: "1", with: "2"}}
	file, _, err := tc.overlay(cache, ps)
	require.NoError(t, err)

	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var list struct{ Replace map[string]string }
	require.NoError(t, json.Unmarshal(data, &list))
	require.Len(t, list.Replace, 2)
	copied, err := os.ReadFile(list.Replace[filepath.Join(tc.root, "src", "runtime", "a.go")])
	require.NoError(t, err)
	require.Equal(t, "return 2\n", string(copied))
	copied, err = os.ReadFile(list.Replace[filepath.Join(tc.root, "src", filepath.FromSlash(addedFile))])
	require.NoError(t, err)
	require.Equal(t, added, copied)

	// Nothing is written anew when nothing changed; another version lies apart.
	before, err := os.Stat(file)
	require.NoError(t, err)
	again, _, err := tc.overlay(cache, ps)
	require.NoError(t, err)
	after, err := os.Stat(again)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
	tc.version = "go1.1"
	apart, _, err := tc.overlay(cache, ps)
	require.NoError(t, err)
	require.NotEqual(t, file, apart)
}

func TestUnfitToolchainLeavesNothing(t *testing.T) {
	tc, cache := fakeToolchain(t), t.TempDir()
	file, applied, err := tc.overlay(cache, patches)
	require.ErrorIs(t, err, ErrUnfit)
	require.Empty(t, file)
	require.Len(t, applied, len(patches))
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestBuildWithoutPins: a patch that does not fit costs exactness, not the program.
func TestBuildWithoutPins(t *testing.T) {
	needChild(t)
	// Broken overlays must not lie in the user's cache; the compiler's stays.
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	require.NoError(t, err)
	t.Setenv("GOCACHE", strings.TrimSpace(string(out)))
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	whole := patches
	t.Cleanup(func() { patches = whole })
	for name, p := range map[string]Patch{
		"unfit":            {Name: "future", File: "runtime/proc.go", find: "not in this version", with: ""},
		"does not compile": {Name: "future", File: "runtime/proc.go", find: "func retake(now int64) uint32 {\n", with: "func retake("},
	} {
		t.Run(name, func(t *testing.T) {
			patches = append(slices.Clone(whole), p)
			b, err := Build(t.Context(), Source{Package: "./testdata/load"}, filepath.Join(t.TempDir(), "load"))
			require.NoError(t, err)
			require.False(t, b.Exact)
			require.Error(t, b.Why)
			require.Contains(t, runChild(t, b.Path, 1, "-parts", "random").out, "pinned: false")
		})
	}
}

func TestBuildTellsCompilersWords(t *testing.T) {
	needChild(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module broken\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { nowhere() }\n"), 0o644))
	_, err := Build(t.Context(), Source{Package: ".", Dir: dir}, filepath.Join(dir, "out"))
	require.ErrorContains(t, err, "undefined: nowhere")
}

// TestPatchesExplainThemselves: each is somebody's work at the next Go version.
func TestPatchesExplainThemselves(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range patches {
		require.False(t, seen[p.Name], p.Name)
		seen[p.Name] = true
		require.NotEmpty(t, p.Why, p.Name)
		require.NotEqual(t, p.find, p.with, p.Name)
		require.True(t, strings.HasSuffix(p.File, ".go"), p.File)
	}
}
