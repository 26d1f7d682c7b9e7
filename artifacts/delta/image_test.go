package delta

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/manifest"
)

// An inMemory image has all its bytes in one slice.
type inMemory struct {
	m      *manifest.Manifest
	layout *manifest.Layout
	stream []byte
	lacks  map[int]bool // chunks that cannot be read
}

func (i *inMemory) Manifest() *manifest.Manifest { return i.m }
func (i *inMemory) HasChunk(n int) bool          { return !i.lacks[n] }
func (i *inMemory) ReadChunk(n int, _ []byte) ([]byte, error) {
	if i.lacks[n] {
		return nil, fmt.Errorf("chunk %d is not here", n)
	}
	from := i.layout.Offset(n)
	return i.stream[from : from+int64(i.m.Chunks[n].Bytes)], nil
}

// load cuts what is at path as a release would be.
func load(t testing.TB, path string) *inMemory {
	m, err := bundle.BuildImage(context.Background(), path, nil)
	require.NoError(t, err)
	i := &inMemory{m: m, layout: manifest.NewLayout(m), lacks: map[int]bool{}}
	info, err := os.Stat(path)
	require.NoError(t, err)
	for _, e := range m.Entries {
		if e.Kind == manifest.File {
			p := path
			if info.IsDir() {
				p = filepath.Join(path, e.Path)
			}
			data, err := os.ReadFile(p)
			require.NoError(t, err)
			i.stream = append(i.stream, data...)
		}
	}
	return i
}
