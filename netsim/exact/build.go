package exact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Source says what to build.
type Source struct {
	// Package is a main package, as the go command takes it.
	Package string
	// Dir is where the go command runs: inside the package's module. Empty is
	// the current directory.
	Dir string
	// Flags are further flags of go build, such as -tags. -overlay, -o and
	// -ldflags are Build's own.
	Flags []string
}

// Built is a program ready to run.
type Built struct {
	Path string
	// Exact tells whether the program has the pins. If not, Why says what came
	// between, and the program runs in virtual time only.
	Exact bool
	Why   error
	// Patches are the edits, applied or not.
	Patches []Patch
	Took    time.Duration
}

// Build compiles src with the pins into the file out, or into the cache if out
// is empty. It is for callers who build often: the go command's cache makes the
// second build of the same sources a matter of linking at most. The first with
// a new Go version compiles the standard library again.
//
// An error means that there is no program: no go command, or sources that do
// not compile. A toolchain that the pins do not fit is no error, see Built.
func Build(ctx context.Context, src Source, out string) (Built, error) {
	start := time.Now()
	file, applied, err := Overlay(src.Dir)
	b := Built{Patches: applied, Exact: err == nil, Why: err}
	if err != nil && !errors.Is(err, ErrUnfit) {
		return Built{}, err
	}
	if b.Path, err = outPath(src, out); err != nil {
		return Built{}, err
	}
	if b.Exact {
		// Patterns can match and the result not compile: then the plain build
		// tells whose fault it is.
		if b.Why = compile(ctx, src, b.Path, "-overlay", file); b.Why != nil {
			b.Exact = false
		}
	}
	if !b.Exact {
		if err := compile(ctx, src, b.Path); err != nil {
			return Built{}, err
		}
	}
	b.Took = time.Since(start)
	return b, nil
}

// outPath is where the program goes.
func outPath(src Source, out string) (string, error) {
	if out != "" {
		return filepath.Abs(out)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place for the program: %w", err)
	}
	dir, err := filepath.Abs(src.Dir)
	if err != nil {
		return "", err
	}
	// Two checkouts of one module must not overwrite each other's program.
	name := fmt.Sprintf("%s-%x", filepath.Base(src.Package), hash64(dir, src.Package))
	return filepath.Join(cache, "starling", "netsim", "bin", name), nil
}

// compile runs go build. cgo is off: its threads are none of the runtime's, and
// its resolver would leave the simulation.
func compile(ctx context.Context, src Source, out string, flags ...string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	// Releases say which build made them: it must not depend on what is committed.
	args := append([]string{"build", "-buildvcs=false", "-o", out, "-ldflags", "-X testing.testBinary=1"}, flags...)
	args = append(append(args, src.Flags...), src.Package)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = src.Dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", src.Package, err, said.Bytes())
	}
	return nil
}

// hash64 is a short name for a list of strings.
func hash64(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q", p)
	}
	return h.Sum(nil)[:6]
}
