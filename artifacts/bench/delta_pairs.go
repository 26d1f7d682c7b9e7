package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A pair is two versions of one thing, each as a tree and as one file. For a single
// file they are the same; a tree's file is a tar without times and owners.
type pair struct {
	name             string
	older, newer     string // directories
	olderOne, newOne string // files
	bytes            int64  // of newOne
}

// pairs are those to compare: that of the command line, or those that are made here.
func (b *bench) pairs(ctx context.Context) ([]*pair, error) {
	if b.older != "" && b.newer != "" {
		return []*pair{{name: "yours", older: b.older, newer: b.newer}}, nil
	}
	var out []*pair
	for _, make := range []func(context.Context) (*pair, error){b.relinked, b.patched, b.toolchains} {
		p, err := make(ctx)
		switch {
		case errors.Is(err, errSkip):
			b.say("a pair is left out: %v", err)
		case err != nil:
			return nil, err
		default:
			out = append(out, p)
		}
	}
	return out, nil
}

// relinked is this project's operator command, built as it is and with three more
// packages of the standard library, so that most addresses in it shift.
func (b *bench) relinked(ctx context.Context) (*pair, error) {
	p := &pair{name: "relinked Go binary", older: filepath.Join(b.dir, "binary-old"), newer: filepath.Join(b.dir, "binary-new")}
	main, err := filepath.Abs("../../cmd/starling")
	if err != nil {
		return nil, err
	}
	extra := filepath.Join(b.dir, "extra.go")
	text := "package main\n\nimport (\n\t_ \"archive/zip\"\n\t_ \"encoding/xml\"\n\t_ \"image/png\"\n)\n"
	overlay := filepath.Join(b.dir, "overlay.json")
	replace := fmt.Sprintf(`{"Replace":{%q:%q}}`, filepath.Join(main, "extra.go"), extra)
	if err := errors.Join(os.WriteFile(extra, []byte(text), 0o600), os.WriteFile(overlay, []byte(replace), 0o600)); err != nil {
		return nil, err
	}
	for dir, flags := range map[string][]string{p.older: nil, p.newer: {"-overlay", overlay}} {
		args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "starling")}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
		cmd.Dir, cmd.Env = main, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, text)
		}
	}
	return p, nil
}

// patched is the source tree of Go's standard library, and the same after a patch
// release: in every hundredth file a line is new.
func (b *bench) patched(ctx context.Context) (*pair, error) {
	source, err := goSource(ctx)
	if err != nil {
		return nil, err
	}
	p := &pair{name: "source tree, 1 % of files changed", older: filepath.Join(b.dir, "tree-old"), newer: filepath.Join(b.dir, "tree-new")}
	for _, dir := range []string{p.older, p.newer} {
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			return nil, err
		}
	}
	n := 0
	return p, filepath.WalkDir(p.newer, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		if n++; n%100 != 0 {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		middle := len(text) / 2
		changed := append(append(append([]byte{}, text[:middle]...), "\n// a line that is new\n"...), text[middle:]...)
		return os.WriteFile(path, changed, 0o644)
	})
}

// goSource is the source of Go's standard library.
func goSource(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "src"), err
}

// toolchainVersions are two neighbouring patch releases of Go.
var toolchainVersions = [2]string{"1.26.6", "1.26.7"}

// toolchains are two patch releases of Go as the go command downloads them.
func (b *bench) toolchains(ctx context.Context) (*pair, error) {
	p := &pair{name: "Go toolchain, " + toolchainVersions[0] + " to " + toolchainVersions[1]}
	for i, dir := range []*string{&p.older, &p.newer} {
		module := "golang.org/toolchain@v0.0.1-go" + toolchainVersions[i] + ".linux-amd64"
		cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
		cmd.Dir = b.dir // in no module
		out, err := cmd.Output()
		var told struct{ Dir, Error string }
		if jsonErr := json.Unmarshal(out, &told); jsonErr != nil || told.Error != "" || err != nil {
			return nil, fmt.Errorf("%w: go mod download %s: %s", errSkip, module, errors.Join(err, jsonErr, errors.New(told.Error)))
		}
		*dir = told.Dir
	}
	return p, nil
}
