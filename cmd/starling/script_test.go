package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/starling-swarm/starling/node/api"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"starling": main})
}

// patience bounds a wait of a script.
const patience = 3 * time.Minute

func TestScripts(t *testing.T) {
	params := testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv("STARLING_PASSPHRASE", "correct horse")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "until": until, "problem": problemCmd, "json": jsonCmd, "damage": damage, "program": program},
	}
	if testing.Short() {
		t.Log("short: the scripts with a live swarm skip themselves")
		params.Condition = func(cond string) (bool, error) { return cond == "short", nil }
	} else {
		withNetsim(t, &params)
	}
	testscript.Run(t, params)
}

// withNetsim lets scripts call the simulator too: built here, but run where its sources
// are not, so that it does not build itself once more for runs that replay exactly.
func withNetsim(t *testing.T, params *testscript.Params) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../netsim").CombinedOutput()
	if err != nil {
		t.Fatalf("build netsim: %v\n%s", err, out)
	}
	setup := params.Setup
	params.Setup = func(e *testscript.Env) error {
		e.Setenv("PATH", dir+string(os.PathListSeparator)+e.Getenv("PATH"))
		return setup(e)
	}
}

// exits CODE starling ARGS… runs a command that must end with this code. What it
// printed is for stdout and stderr to match.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := codeOfExec(ts, args[1:]); got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func codeOfExec(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	ts.Check(err)
	return -1
}

// until 'REGEXP' starling ARGS… repeats a command until its output matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	var last []byte
	for {
		cmd := exec.CommandContext(ctx, args[1], args[2:]...)
		cmd.Dir = ts.Getenv("WORK")
		for _, k := range []string{"HOME", "XDG_CONFIG_HOME", "STARLING_PASSPHRASE", "STARLING_HOME", "PATH"} {
			cmd.Env = append(cmd.Env, k+"="+ts.Getenv(k))
		}
		out, _ := cmd.CombinedOutput() // an agent that is not there yet is no failure
		if want.Match(out) {
			return
		}
		if ctx.Err() == nil { // else it was cut off
			last = out
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s: never matched %q; at last:\n%s", strings.Join(args[1:], " "), args[0], last)
		case <-again.C:
		}
	}
}

// problem CODE starling ARGS… runs a command with --json that must fail: standard
// output is one problem with this code, and the exit code is that of the table.
func problemCmd(ts *testscript.TestScript, _ bool, args []string) {
	code := codeOfExec(ts, append(args[1:], "--json"))
	var p api.Problem
	data := ts.ReadFile("stdout")
	if err := json.Unmarshal([]byte(data), &p); err != nil {
		ts.Fatalf("%s --json: %v:\n%s", strings.Join(args[1:], " "), err, data)
	}
	if p.Schema != api.ProblemSchema || string(p.Code) != args[0] || p.Code.Info().Exit != code || p.Reason == "" {
		ts.Fatalf("%s --json: code %s, exit %d, want %s:\n%s", strings.Join(args[1:], " "), p.Code, code, args[0], data)
	}
}

// json SCHEMA starling ARGS… runs a command with --json that must succeed and print
// documents of which the first has this schema.
func jsonCmd(ts *testscript.TestScript, _ bool, args []string) {
	if code := codeOfExec(ts, append(args[1:], "--json")); code != 0 {
		ts.Fatalf("%s --json: exit code %d", strings.Join(args[1:], " "), code)
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	for i := 0; ; i++ {
		var doc struct {
			Schema string `json:"schema"`
		}
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) && i > 0 {
			return
		}
		if err != nil {
			ts.Fatalf("%s --json: document %d: %v", strings.Join(args[1:], " "), i, err)
		}
		if i == 0 && doc.Schema != args[0] {
			ts.Fatalf("%s --json: schema %q, want %q", strings.Join(args[1:], " "), doc.Schema, args[0])
		}
	}
}

// damage FILE changes one byte in the middle of a file.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(path, data, 0o644))
}

// program FILE SHIFT makes 2 MiB like those of a linked program: random code with an
// address every 96 bytes, all of which move by SHIFT.
func program(ts *testscript.TestScript, _ bool, args []string) {
	shift, err := strconv.ParseUint(args[1], 10, 32)
	ts.Check(err)
	out, r := make([]byte, 2<<20), rand.New(rand.NewPCG(1, 2))
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	for i := 0; i+4 <= len(out); i += 96 {
		binary.LittleEndian.PutUint32(out[i:], uint32(i)+uint32(shift))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), out, 0o755))
}

// call runs a command line in this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}
