package install

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bootID names this boot: start times count from it.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
})

// stat is what /proc says of a process (proc_pid_stat(5)).
type stat struct {
	state   byte
	session int    // field 6
	start   string // field 22, clock ticks since boot
}

func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	// The name may hold anything, but no later field has a parenthesis.
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	f := strings.Fields(rest)
	if !ok || len(f) < 20 {
		return stat{}, false
	}
	session, err := strconv.Atoi(f[3])
	return stat{state: f[0][0], session: session, start: f[19]}, err == nil
}

// dead reports whether only the entry in the process table is left.
func (s stat) dead() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// lookAt names the process that has this number, and says whether it runs.
func lookAt(pid int) (started string, running bool) {
	s, ok := readStat(pid)
	if !ok {
		return "", false
	}
	return bootID() + "/" + s.start, !s.dead()
}

// session lists what runs in the session that pid leads or led. The kernel gives
// the number to nobody else while the session has members.
func session(pid int) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, ok := readStat(n); ok && s.session == pid && !s.dead() {
			pids = append(pids, n)
		}
	}
	return pids
}

// signalSession sends sig to everything in the session, in whatever group.
func signalSession(pid int, sig syscall.Signal) {
	for _, n := range session(pid) {
		_ = syscall.Kill(n, sig) // gone already is as good
	}
}

// wait returns nil when the process has ended, or ctx's error.
func (p *process) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return p.poll(ctx)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if !p.alive() {
		return nil // ended, or the number was given away before we had it open
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return p.poll(ctx)
	}
	err = conn.Read(func(fd uintptr) bool { // readable: ended (pidfd_open(2))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || err != nil {
		return p.poll(ctx)
	}
	return nil
}
