// Command machines does what nodes do with files and clocks, in a program with a pinned
// runtime, and prints what came of it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/netsim/disk"
	"github.com/starling-swarm/starling/netsim/exact"
)

func main() {
	exact.InBubble(exact.Bubble{Seed: 1}, func(context.Context) int {
		if err := errors.Join(files(), clocks()); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	})
}

// files writes by all routes, and cuts the power.
func files() error {
	set, err := disk.New(disk.Config{Dir: ".", Forgets: true})
	if err != nil {
		return err
	}
	d := set.Add("a")
	if err := errors.Join(set.Hook(), os.Mkdir("a", 0o700), durable.WriteFile("a/record", []byte("synced"), 0o600)); err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile("a/os", []byte("x"), 0o600), os.Symlink("os", "a/link"), root(), copied(), short(), deep(200)); err != nil {
		return err
	}
	r, lost := rand.New(rand.NewPCG(1, 1)), 0
	l := d.Cut(r, false)
	lost = l.Files + l.Names + l.Whole
	record, err := os.ReadFile("a/record")
	fmt.Printf("record %s, %d at risk\n", record, lost)
	if err := os.WriteFile("a/late", nil, 0o600); !errors.Is(err, unix.EIO) {
		return fmt.Errorf("a dead disk takes a file: %v", err)
	}
	d.PowerOn()
	d.Fill(0)
	fmt.Println("full:", os.WriteFile("a/more", nil, 0o600))
	return err
}

// root writes below a directory that cannot be left.
func root() error {
	r, err := os.OpenRoot("a")
	if err != nil {
		return err
	}
	return errors.Join(r.WriteFile("root", []byte("x"), 0o600), r.Close())
}

// copied lets the kernel copy, if it will.
func copied() error {
	from, err := os.Open("a/os")
	if err != nil {
		return err
	}
	to, err := os.Create("a/copy")
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close(), from.Close())
}

// short writes through golang.org/x/sys, from the stack.
func short() error {
	fd, err := unix.Open("a/sys", unix.O_CREAT|unix.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var b [8]byte
	copy(b[:], "on stack")
	_, err = unix.Pwrite(fd, b[:], 0)
	return errors.Join(err, unix.Close(fd))
}

// deep writes from ever deeper in a new stack, so that it grows below system calls
// whose buffers lie on it.
func deep(n int) error {
	done := make(chan error, 1)
	go func() { done <- deeper(n) }()
	return <-done
}

func deeper(n int) error {
	var b, back [64]byte
	for i := range b {
		b[i] = byte(n)
	}
	fd, err := unix.Open("a/deep", unix.O_CREAT|unix.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if _, err = unix.Pwrite(fd, b[:], 0); err == nil {
		_, err = unix.Pread(fd, back[:], 0)
	}
	var st unix.Stat_t
	if err = errors.Join(err, unix.Fstat(fd, &st), unix.Close(fd)); err != nil {
		return err
	}
	if b != back || st.Size != 64 || !bytes.Equal(b[:1], []byte{byte(n)}) {
		return fmt.Errorf("at depth %d: wrote %v, read %v, %d bytes", n, b, back, st.Size)
	}
	if n == 0 {
		return nil
	}
	return deeper(n - 1)
}

// clocks lets one machine's clock go wrong, and looks at it from all that it starts.
func clocks() error {
	if err := exact.UseClocks(); err != nil {
		return err
	}
	start := time.Now()
	exact.SetClock(7, 300*24*time.Hour, 0)
	off := func(t time.Time) string { return t.Sub(start.Round(0)).Round(time.Second).String() }
	said := make(chan string, 5)
	exact.As(7, func() {
		go func() { said <- "goroutine " + off(time.Now().Round(0)) }()
		time.AfterFunc(time.Second, func() { said <- "timer " + off(time.Now().Round(0)) })
		at := time.After(2 * time.Second)
		go func() { said <- "channel " + off((<-at).Round(0)) }()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		go func() {
			defer cancel()
			<-ctx.Done()
			said <- "deadline " + time.Since(start).String()
		}()
		was := time.Now()
		time.AfterFunc(4*time.Second, func() { said <- "since " + time.Since(was).String() })
	})
	for range 5 {
		fmt.Println(<-said)
	}
	fmt.Println("right", off(time.Now()), off(exact.Now()))
	exact.SetClock(7, -300*24*time.Hour, 20000)
	time.Sleep(50 * time.Second)
	exact.As(7, func() {
		fmt.Println("fast", off(time.Now().Round(0)), time.Since(start), exact.Now().Sub(start))
	})
	exact.SetClock(7, 0, 0)
	time.Sleep(50 * time.Second)
	exact.As(7, func() { fmt.Println("stays", off(time.Now().Round(0))) })
	return nil
}
