package exact

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// programs are the load, built once: with the pins and without.
var programs = sync.OnceValues(func() (built [2]Built, err error) {
	out, err := os.MkdirTemp("", "exact-load-")
	if err != nil {
		return built, err
	}
	src := Source{Package: "./testdata/load"}
	built[0], err = Build(context.Background(), src, filepath.Join(out, "pinned"))
	if err == nil {
		built[1].Path = filepath.Join(out, "plain")
		err = compile(context.Background(), src, built[1].Path)
	}
	return built, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built, err := programs(); err == nil && built[0].Path != "" {
		os.RemoveAll(filepath.Dir(built[0].Path))
	}
	os.Exit(code)
}

// needChild gives the two programs, or skips the test where none can be built.
func needChild(t *testing.T) (pinned, plain string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	root, err := findToolchain(t.Context(), "")
	if err != nil {
		t.Skip("no go command here: ", err)
	}
	if _, err := os.Stat(filepath.Join(root.root, "src", "runtime", "proc.go")); err != nil {
		t.Skip("the toolchain's sources are not here: ", err)
	}
	built, err := programs()
	require.NoError(t, err)
	if !built[0].Exact {
		t.Skip("the pins do not fit this Go version: ", built[0].Why, built[0].Patches)
	}
	return built[0].Path, built[1].Path
}

// child is what one run of the load said.
type child struct {
	out, errs string
	digest    string
	code      int
}

// runChild runs the load in an empty directory, on a RAM disk if there is one.
func runChild(t *testing.T, path string, seed uint64, args ...string) child {
	t.Helper()
	ram := "/dev/shm"
	if _, err := os.Stat(ram); err != nil {
		ram = ""
	}
	dir, err := os.MkdirTemp(ram, "exact-run-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "state"), 0o755))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, Env(seed)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	c := child{out: out.String(), errs: errs.String(), code: cmd.ProcessState.ExitCode()}
	if c.code < 0 {
		t.Fatalf("%v: %v\n%s%s", args, err, c.out, c.errs)
	}
	_, c.digest, _ = strings.Cut(c.out, "digest: ")
	c.digest = strings.TrimSpace(c.digest)
	return c
}

// digests are those of n runs of one seed.
func digests(t *testing.T, path string, n int, seed uint64, args ...string) []string {
	t.Helper()
	var list []string
	for range n {
		c := runChild(t, path, seed, args...)
		require.Zero(t, c.code, "%s%s", c.out, c.errs)
		require.NotEmpty(t, c.digest)
		list = append(list, c.digest)
	}
	return list
}

// alike reports whether all are the same.
func alike(list []string) bool {
	for _, d := range list {
		if d != list[0] {
			return false
		}
	}
	return true
}
