//go:build linux || darwin

package daemon

import (
	"fmt"
	"io"
	"os"
	"syscall"
)

// FailPoint returns a function that, at the named step of an update ("app/armed"),
// writes "failpoint app/armed" to w and stops the whole process with SIGSTOP, so
// that a test can kill it at just that point: it does not return, for the signal
// may take a moment. An empty step is no fail point.
func FailPoint(step string, w io.Writer) func(string) {
	if step == "" {
		return nil
	}
	return func(at string) {
		if at != step {
			return
		}
		if _, err := fmt.Fprintln(w, "failpoint", at); err != nil {
			panic("daemon: a fail point that nobody hears of: " + err.Error())
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
			panic("daemon: fail point: " + err.Error())
		}
		select {}
	}
}
