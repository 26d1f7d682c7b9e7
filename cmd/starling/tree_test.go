package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/api"
)

var update = flag.Bool("update", false, "write golden files")

// leaves are all commands that do something.
func leaves(t *testing.T) []*cobra.Command {
	var out []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.HasSubCommands() && c.Runnable() {
			out = append(out, c)
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk((&cli{}).root())
	require.Greater(t, len(out), 30)
	return out
}

// Every command shows three examples, and each of them parses.
func TestExamplesParse(t *testing.T) {
	for _, cmd := range leaves(t) {
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "_"), func(t *testing.T) {
			lines := strings.Split(cmd.Example, "\n")
			require.Len(t, lines, 3, "examples of %s", cmd.CommandPath())
			require.NotEmpty(t, cmd.Short)
			for _, line := range lines {
				words := split(strings.TrimSpace(line))
				require.Equal(t, "starling", words[0], line)
				root := (&cli{}).root()
				found, rest, err := root.Find(words[1:])
				require.NoError(t, err, line)
				require.Equal(t, cmd.Name(), found.Name(), line)
				require.NoError(t, found.ParseFlags(rest), line)
				require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
			}
		})
	}
}

// split is a command line in words; double quotes keep words together.
func split(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out[len(out)-1] += part
			continue
		}
		out = append(out, strings.Fields(part)...)
		if strings.HasSuffix(part, " ") {
			out = append(out, "")
		}
	}
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// Whatever is wrong with the arguments, --json prints one problem.
func TestMisuseIsAProblem(t *testing.T) {
	t.Setenv("STARLING_HOME", t.TempDir())
	for _, cmd := range leaves(t) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--no-such-flag", "--json")
		code, out, errs := call(t, args...)
		var p api.Problem
		require.NoError(t, json.Unmarshal([]byte(out), &p), "%v: %s", args, out)
		require.Equal(t, api.ProblemSchema, p.Schema)
		require.Equal(t, api.Usage, p.Code, "%v", args)
		require.Equal(t, 2, code)
		require.Empty(t, errs, "%v", args)
		require.Contains(t, p.Next, "--help")
	}
	for _, args := range [][]string{{"frobnicate"}, {"release", "frobnicate"}, {"rollout", "watsh"}, {"help", "frobnicate"}, {"status", "surplus"}, {"status", "--timeout", "-1s"}} {
		code, out, errs := call(t, args...)
		require.Equal(t, 2, code, "%v: %s%s", args, out, errs)
		require.True(t, strings.HasPrefix(errs, "error: "), "%v: %s", args, errs)
		require.Contains(t, errs, "\n→ starling")
	}
}

// Scripts depend on the numbers: one is added, none is changed.
func TestExitCodes(t *testing.T) {
	code, out, _ := call(t, "help", "exit-codes")
	require.Zero(t, code)
	golden(t, "exit-codes.txt", out)
	seen := map[int]bool{}
	for _, i := range api.Codes() {
		require.False(t, seen[i.Exit], "exit code %d stands twice", i.Exit)
		seen[i.Exit] = true
	}
	for status, want := range map[string]int{
		"done": 0, "reverted": 3, "aborted": 3, "expired": 3, "superseded": 3, "held": 4, "running": 5, "reverting": 5,
	} {
		require.Equal(t, want, codeOf(status).Info().Exit, status)
		require.Contains(t, rolloutStates, status)
	}
}

// The help of every command, so that a change of a flag is seen.
func TestHelp(t *testing.T) {
	var all strings.Builder
	for _, cmd := range leaves(t) {
		all.WriteString(cmd.CommandPath() + "\t" + cmd.Short + "\n")
	}
	golden(t, "commands.txt", all.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
