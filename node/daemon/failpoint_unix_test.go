//go:build linux || darwin

package daemon

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// In the child, the fail point stops the whole process: what comes after it is
// never said.
func TestFailPointStopsTheProcessAtItsStep(t *testing.T) {
	if os.Getenv("STARLING_TEST_CHILD") != "" {
		stop := FailPoint("app/armed", os.Stderr)
		stop("app/staged")
		stop("app/armed")
		os.Stderr.WriteString("went on\n")
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "STARLING_TEST_CHILD=1")
	stderr, err := child.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "failpoint app/armed\n", line)

	var status syscall.WaitStatus
	_, err = syscall.Wait4(child.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())

	require.Nil(t, FailPoint("", &bytes.Buffer{}))
}
