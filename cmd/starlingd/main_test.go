package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node/join"
)

// The test program is starlingd itself when it is asked to be.
func TestMain(m *testing.M) {
	if os.Getenv("STARLINGD_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func write(t *testing.T, path, text string) string {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestWhatItSaysAndReturns(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "good.yaml"), "dir: state\njoin: invite.json\n")
	i, err := join.New(join.Invite{Swarm: "orchard-3", Root: [32]byte{1}, Operator: [32]byte{2}, Addrs: []string{"127.0.0.1:1"}, Expires: time.Now().Add(time.Hour), Uses: 1})
	require.NoError(t, err)
	write(t, filepath.Join(dir, "invite.json"), string(i.Encode()))
	typo := write(t, filepath.Join(dir, "typo.yaml"), "dir: state\nlisten:\n  gosip: \":1\"\n")
	alone := write(t, filepath.Join(dir, "alone.yaml"), "dir: other\nbase: true\nlisten: {gossip: \"127.0.0.1:0\", bulk: \"127.0.0.1:0\", control: \"127.0.0.1:0\"}\n")
	for _, tt := range []struct {
		args   []string
		code   int
		out    string
		errors []string
	}{
		{[]string{"--version"}, 0, "starlingd ", nil},
		{[]string{"--help"}, 0, "", []string{"exit codes:", "12  another instance"}},
		{[]string{"--what"}, 2, "", []string{"-what"}},
		{[]string{"stray"}, 2, "", []string{`"stray"`}},
		{nil, 2, "", []string{"dir is missing"}},
		{[]string{"--config", filepath.Join(dir, "none.yaml")}, 2, "", []string{"none.yaml", "--config"}},
		{[]string{"--config", typo}, 2, "", []string{"typo.yaml", "[3:3]", "gosip", "^", "next: "}},
		{[]string{"--config", good, "--check"}, 0, "would join swarm orchard-3", nil},
		{[]string{"--config", alone, "--check"}, 2, "", []string{"starling join FILE"}},
		{[]string{"--config", alone}, 2, "", []string{"belongs to no swarm yet", "next: starling join FILE"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var out, errs bytes.Buffer
			require.Equal(t, tt.code, run(tt.args, nil, &out, &errs), errs.String())
			require.Contains(t, out.String(), tt.out)
			for _, want := range tt.errors {
				require.Contains(t, errs.String(), want)
			}
		})
	}
}

// A daemon that waits for the operator holds its directory, and ends when asked to.
func TestItHoldsItsDirectoryAndEndsOnATerm(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "agent.yaml"), "dir: state\njoin: invite.json\nbase: true\nprofile: local\nlisten: {gossip: \"127.0.0.1:0\", bulk: \"127.0.0.1:0\", control: \"127.0.0.1:0\"}\nlog: {format: json}\n")
	i, err := join.New(join.Invite{Swarm: "orchard-3", Root: [32]byte{1}, Operator: [32]byte{2}, Addrs: []string{"127.0.0.1:1"}, Expires: time.Now().Add(time.Hour), Uses: 1})
	require.NoError(t, err)
	write(t, filepath.Join(dir, "invite.json"), string(i.Encode()))
	self, err := os.Executable()
	require.NoError(t, err)
	first := exec.CommandContext(t.Context(), self, "--config", file)
	first.Env = append(os.Environ(), "STARLINGD_TEST_MAIN=1")
	log, err := first.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, first.Start())
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() && !strings.Contains(lines.Text(), `"listening"`) {
	}
	var out, errs bytes.Buffer
	require.Equal(t, 12, run([]string{"--config", file}, nil, &out, &errs))
	require.Contains(t, errs.String(), "another process")

	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	require.NoError(t, first.Wait(), "%s", strings.Join(said, "\n"))
}
