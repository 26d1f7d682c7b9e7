package bundle_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
)

// Files of formats 1 and 2, whose manifests stand in front, are read as ever; publishing
// keeps their form.
func TestOlderFormatsAreRead(t *testing.T) {
	for name, packs := range map[string]int{"format1.star": 0, "format2.star": 1} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", name))
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(path, data, 0o644))
			require.NoError(t, bundle.SetMetadata(path, []byte("another word")))
			b := open(t, path)
			require.NoError(t, b.Verify(t.Context()))
			require.Len(t, b.Packs(), packs)
			require.Len(t, b.Release().Variants, 2)
			require.Equal(t, "another word", string(b.Metadata()))
			for _, p := range b.Packs() {
				img, err := p.Image()
				require.NoError(t, err)
				got, err := img.ReadChunk(0, nil)
				require.NoError(t, err)
				require.Equal(t, "a pack", string(got))
			}
		})
	}
}
