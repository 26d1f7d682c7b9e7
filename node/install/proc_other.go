//go:build !linux

package install

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// lookAt names the process that has this number, and says whether it runs.
func lookAt(pid int) (started string, running bool) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, start, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || !ok {
		return "", false
	}
	return strings.Join(strings.Fields(start), " "), !strings.HasPrefix(state, "Z")
}

// session lists what runs in the group that pid leads.
func session(pid int) []int {
	out, err := exec.Command("ps", "-A", "-o", "pid=,pgid=,stat=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[1] != strconv.Itoa(pid) || strings.HasPrefix(f[2], "Z") {
			continue
		}
		if n, err := strconv.Atoi(f[0]); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// signalSession sends sig to everything in the group.
func signalSession(pid int, sig syscall.Signal) {
	_ = syscall.Kill(-pid, sig) // gone already is as good
}

// wait returns nil when the process has ended, or ctx's error.
func (p *process) wait(ctx context.Context) error { return p.poll(ctx) }
