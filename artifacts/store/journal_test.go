package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store/storetest"
)

// TestJournalDamaged flips each byte of a journal, and cuts it at each length.
// Open hashes what the files hold and loses nothing that is whole.
func TestJournalDamaged(t *testing.T) {
	sample := storetest.NewSample(8)
	s := memorySlot(t)
	img := openSlot(t, s, sample.Manifest)
	for n := range sample.Manifest.Chunks {
		if n%3 != 0 {
			require.NoError(t, img.WriteChunk(n, sample.Chunk(n)))
		}
	}
	require.NoError(t, img.Close())
	good, err := os.ReadFile(s.journal)
	require.NoError(t, err)
	require.NoError(t, img.Damage(4))

	check := func(name string, journal []byte) {
		require.NoError(t, os.WriteFile(s.journal, journal, 0o600))
		img := openSlot(t, s, sample.Manifest)
		for n := range sample.Manifest.Chunks {
			require.Equal(t, n%3 != 0 && n != 4, img.HasChunk(n), "chunk %d, journal %s", n, name)
		}
		storetest.RequireChunks(t, sample, img)
		require.NoError(t, img.Close())
	}
	for at := range good {
		flipped := append([]byte(nil), good...)
		flipped[at] ^= 1 << (at % 8)
		check("flipped", flipped)
		if at%*stride == 0 || at < 10 {
			check("cut", good[:at])
		}
	}
	check("longer", append(good[:len(good):len(good)], 0))
}

// TestJournalOfAnotherImage empties the slot, and only the slot.
func TestJournalOfAnotherImage(t *testing.T) {
	s := newSlot(t)
	old, next := storetest.NewSample(1), storetest.NewSample(2)
	img := openSlot(t, s, old.Manifest)
	storetest.Fill(t, old, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, img.Close())
	neighbour := filepath.Join(filepath.Dir(s.dir), "slot.txt")
	require.NoError(t, os.WriteFile(neighbour, []byte("keep"), 0o600))

	img = openSlot(t, s, next.Manifest)
	chunks, _ := img.Missing()
	require.Equal(t, len(next.Manifest.Chunks), chunks)
	storetest.Fill(t, next, img)
	require.NoError(t, img.Seal(t.Context()))
	require.NoError(t, Verify(t.Context(), s.dir, next.Manifest))
	require.NoError(t, img.Close())
	require.FileExists(t, neighbour)
}

func FuzzJournal(f *testing.F) {
	r := record{image: manifest.Sum(nil), chunks: 11, held: manifest.Bitmap{0x21, 0x04}}
	f.Add(r.encode())
	r.held, r.sealed = manifest.Bitmap{0xff, 0x07}, true
	f.Add(r.encode())
	f.Add((&record{}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum would hide everything behind it, so it is put right too.
		for _, b := range [][]byte{b, resum(b)} {
			r, err := decodeRecord(b)
			if err != nil {
				require.Equal(t, record{}, r)
				continue
			}
			require.Equal(t, b, r.encode())
			require.LessOrEqual(t, r.held.Count(), r.chunks)
		}
	})
}

func resum(b []byte) []byte {
	body := b[:max(0, len(b)-manifest.DigestBytes)]
	sum := manifest.Sum(body)
	return append(body[:len(body):len(body)], sum[:]...)
}
