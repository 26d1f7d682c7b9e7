// Command bench measures Starling's exchange side by side with what one would pick
// instead: the same file, the same links, the same disk, taking turns in one run.
//
//	go run .                        every case, with the systems that are installed
//	go run . -n 5 uplinks-4         one case, medians of five rounds
//	go run . -systems starling,torrent -scale 8 unlimited
//	go run . -list
//
// Each member of a swarm is a process of its own, so that its processor time and its
// memory are its own. README.md says what the figures mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A bench runs cases.
type bench struct {
	dir    string // everything is below
	out    io.Writer
	rounds int
	scale  int // sizes are divided by it
	own    bool
	picked []string // names of systems; none is all
	// profiles is where members that are Go programs leave profiles of their processor
	// time; none if empty.
	profiles string
	images   map[int]*image
	// older and newer are two versions of a tree for the case "delta"; both empty: pairs
	// that the harness makes.
	older, newer string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{out: out, images: map[int]*image{}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&b.rounds, "n", 3, "rounds; the systems take turns in each")
	flags.IntVar(&b.scale, "scale", 1, "divide the sizes of all images by this, to try things out")
	flags.BoolVar(&b.own, "own", false, "limit uplinks by the systems' own means instead of the kernel's; those without are left out")
	names := flags.String("systems", "", "the systems to compare, by comma; none is all that are installed")
	dir := flags.String("dir", "", "where images and disks are; none is the system's temporary directory")
	flags.StringVar(&b.profiles, "profiles", "", "a directory where members in Go leave profiles of their processor time, those of the last round")
	flags.StringVar(&b.older, "old", "", "a directory: the old version of a pair of your own for the case delta")
	flags.StringVar(&b.newer, "new", "", "the new version")
	list := flags.Bool("list", false, "list the cases")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		for _, c := range cases {
			fmt.Fprintf(out, "%-16s %s\n", c.name, c.about)
		}
		return nil
	}
	if *names != "" {
		b.picked = strings.Split(*names, ",")
	}
	if b.rounds < 1 || b.scale < 1 {
		return errors.New("-n and -scale are 1 or more")
	}
	return b.run(ctx, *dir, flags.Args())
}

// run runs the named cases, or all.
func (b *bench) run(ctx context.Context, dir string, names []string) (err error) {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(dir, "starling-bench-"); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil { // some of what is measured runs elsewhere
		return err
	}
	defer func() { err = errors.Join(err, removeAll(b.dir)) }()
	fmt.Fprintf(b.out, "%s %s/%s, %d processors, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateTime))
	for _, c := range chosen {
		fmt.Fprintf(b.out, "\n%s: %s (load %s)\n", c.name, c.about, load())
		switch err := c.run(b, ctx); {
		case errors.Is(err, errSkip):
			fmt.Fprintln(b.out, "  skipped:", err)
		case err != nil:
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// choose returns the cases of these names.
func choose(names []string) ([]benchCase, error) {
	if len(names) == 0 {
		return cases, nil
	}
	var out []benchCase
	for _, n := range names {
		found := false
		for _, c := range cases {
			if c.name == n {
				out, found = append(out, c), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no case is named %q; -list lists them", n)
		}
	}
	return out, nil
}
