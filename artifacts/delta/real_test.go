package delta

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/store"
)

// TestRealImages measures a pack between two trees or files of yours:
//
//	STARLING_OLD=a STARLING_NEW=b go test -run TestRealImages -v ./artifacts/delta
func TestRealImages(t *testing.T) {
	if os.Getenv("STARLING_OLD") == "" {
		t.Skip("STARLING_OLD and STARLING_NEW name no images")
	}
	old, fresh := load(t, os.Getenv("STARLING_OLD")), load(t, os.Getenv("STARLING_NEW"))
	var pack bytes.Buffer
	began := time.Now()
	s, err := Build(context.Background(), old, fresh, &pack, nil)
	require.NoError(t, err)
	took := time.Since(began)
	into := store.NewMem(fresh.m)
	for n, c := range fresh.m.Chunks {
		for k, o := range old.m.Chunks {
			if o.Digest == c.Digest {
				data, _ := old.ReadChunk(k, nil)
				require.NoError(t, into.WriteChunk(n, data))
				break
			}
		}
	}
	p, err := Open(bytes.NewReader(pack.Bytes()), int64(pack.Len()))
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began = time.Now()
	a, err := p.Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	raw := float64(fresh.m.Bytes())
	left := s.Wire - s.Saved
	t.Logf("image %.1f MB; missing %d chunks, %.2f MB = %.2f %%; as chunks %.2f MB = %.3f %%", raw/1e6, s.Chunks, float64(s.Missing)/1e6, 100*float64(s.Missing)/raw, float64(s.Wire)/1e6, 100*float64(s.Wire)/raw)
	t.Logf("pack %d bytes = %.3f %% in %d segments, covers %.2f MB (left as chunks: %d bytes); together %.3f %% of raw", s.Pack, 100*float64(s.Pack)/raw, len(p.index.Segments), float64(s.Covered)/1e6, left, 100*float64(s.Pack+left)/raw)
	t.Logf("index %d bytes; built in %s, applied in %s (%.0f MB/s); %d chunks, skipped %d; allocated %.1f MB beside the image itself", len(p.index.Encode()), took, time.Since(began), float64(a.Bytes)/1e6/time.Since(began).Seconds(), a.Chunks, a.Skipped, float64(after.TotalAlloc-before.TotalAlloc-uint64(a.Bytes))/1e6)
}
