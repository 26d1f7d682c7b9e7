package delta

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/store"
)

// Two versions of a program: the second imports three packages more, so that every
// address in it moves.
const (
	programBefore = `package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() { fmt.Println(http.ListenAndServe(os.Args[1], nil)) }
`
	programAfter = `package main

import (
	"encoding/ascii85"
	"encoding/csv"
	"fmt"
	"net/http"
	"os"
	"text/scanner"
)

func main() {
	var s scanner.Scanner
	s.Init(os.Stdin)
	rec, err := csv.NewReader(os.Stdin).Read()
	fmt.Println(s.Scan(), rec, err, ascii85.MaxEncodedLen(5))
	fmt.Println(http.ListenAndServe(os.Args[1], nil))
}
`
)

// linked is a program of this source, as a release has it.
func linked(t testing.TB, source string) *inMemory {
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": source, "go.mod": "module nav\n\ngo 1.26\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", "image/nav", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return load(t, filepath.Join(dir, "image"))
}

// A linked program with three imports more is the hard case: nearly no chunk is
// equal. It must take a tenth of itself at most, and a robot little memory.
func TestARelinkedProgramTakesATenth(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	old, fresh := linked(t, programBefore), linked(t, programAfter)
	data, s := pack(t, old, fresh)
	into := copied(t, old, fresh)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := mustOpen(t, data).Apply(context.Background(), old, into, nil)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	raw, fetched := fresh.m.Bytes(), s.Pack+s.Wire-s.Saved
	allocated := after.TotalAlloc - before.TotalAlloc - uint64(a.Bytes) // the slot in memory keeps what is made
	t.Logf("%.1f MB, of which %.0f %% in new chunks: as chunks %.1f %%, with a pack %.2f %%; applying it allocates %.1f MB",
		float64(raw)/1e6, 100*float64(s.Missing)/float64(raw), 100*float64(s.Wire)/float64(raw), 100*float64(fetched)/float64(raw), float64(allocated)/1e6)
	require.Greater(t, s.Missing, raw/2, "else this shows nothing")
	require.LessOrEqual(t, fetched*10, raw)
	require.Less(t, allocated, uint64(64<<20))
	_, left := into.Missing()
	require.Equal(t, s.Missing-s.Covered, left)
}

// The bounds of a segment bound the memory that applying needs, whatever a pack says:
// frame, what it unpacks to, what it reads and what it makes.
func TestTheBoundsKeepApplyingSmall(t *testing.T) {
	require.LessOrEqual(t, 2*MaxRawBytes+MaxBaseBytes+MaxSegmentBytes, 32<<20)
}

func BenchmarkBuild(b *testing.B) {
	old, fresh := relinked(8 << 20)
	b.SetBytes(fresh.m.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		_, s := pack(b, old, fresh)
		b.ReportMetric(100*float64(s.Pack)/float64(fresh.m.Bytes()), "%raw")
	}
}

// anywhere is a slot that forgets, so that only applying is measured.
type anywhere struct{ *store.Mem }

func (anywhere) WriteChunk(int, []byte) error { return nil }

func BenchmarkApply(b *testing.B) {
	old, fresh := relinked(8 << 20)
	data, _ := pack(b, old, fresh)
	b.SetBytes(fresh.m.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		p, err := Open(bytes.NewReader(data), int64(len(data)))
		require.NoError(b, err)
		_, err = p.Apply(context.Background(), old, anywhere{store.NewMem(fresh.m)}, nil)
		require.NoError(b, err)
	}
}
