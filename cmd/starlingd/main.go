// Starlingd is the robot's daemon: one member of a swarm, without a command-line
// framework, a screen or a web page. It is told what to do by its configuration file
// and asked how it does over a unix socket; see the command starling.
//
//	starlingd --config /etc/starling/agent.yaml
//	starlingd --config FILE --check
//	starlingd --version
//
// Every scalar key of the file can be overridden by the environment:
// STARLING_LISTEN_GOSSIP=:7950. SIGTERM and SIGINT make it say goodbye and end; the
// payload goes on. A second signal ends it at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/daemon"
)

// failPointEnv names the step of an update at which the process stops itself, for
// crash tests.
const failPointEnv = "STARLING_FAILPOINT"

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run is main with what it touches; it returns the exit code.
func run(args, env []string, stdout, stderr io.Writer) int {
	err := start(args, env, stdout, stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFlags):
		return api.Usage.Info().Exit
	}
	p := api.ProblemOf(err)
	fmt.Fprintf(stderr, "starlingd: %s\n", p.Reason)
	if p.Next != "" {
		fmt.Fprintf(stderr, "next: %s\n", p.Next)
	}
	return p.Code.Info().Exit
}

// errFlags says that package flag has printed what is wrong.
var errFlags = errors.New("starlingd: bad flags")

func start(args, env []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("starlingd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "the configuration `FILE`")
	check := flags.Bool("check", false, "check the configuration and end")
	version := flags.Bool("version", false, "print the version and end")
	flags.Usage = func() { usage(stderr, flags) }
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errFlags
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "starlingd: does not know what to do with %q\n", flags.Arg(0))
		flags.Usage()
		return errFlags
	}
	if *version {
		_, err := fmt.Fprintln(stdout, describe())
		return err
	}
	c, err := config.Load(*file, env)
	if err != nil {
		return err
	}
	if *check {
		return report(c, stdout)
	}
	return runDaemon(c, env, stderr)
}

// report says what a configuration would do.
func report(c *config.Config, stdout io.Writer) error {
	notes, err := daemon.Check(c)
	if err != nil {
		return err
	}
	for _, line := range append(notes, "the configuration is good") {
		if _, err := fmt.Fprintln(stdout, line); err != nil {
			return err
		}
	}
	return nil
}

func runDaemon(c *config.Config, env []string, stderr io.Writer) error {
	log, err := daemon.Logger(c.Log, stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal finds nobody who catches it
	log.Info("starling starts", "version", describe(), "dir", c.Dir)
	err = daemon.Run(ctx, c, log, daemon.Options{Env: env, FailPoint: daemon.FailPoint(os.Getenv(failPointEnv), stderr)})
	if err == nil {
		log.Info("starling ends")
	}
	return err
}

func usage(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprint(w, "usage: starlingd --config FILE [--check]\n\nStarlingd makes this machine a member of a swarm.\n\n")
	flags.PrintDefaults()
	fmt.Fprint(w, "\nexit codes:\n")
	for _, c := range api.Codes() {
		fmt.Fprintf(w, "  %3d  %s\n", c.Exit, c.Meaning)
	}
}

// describe is "starlingd v1.2.3 (abcdef012345) go1.26 linux/arm64".
func describe() string {
	version, commit := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = " (" + s.Value[:min(len(s.Value), 12)] + ")"
			}
		}
	}
	return fmt.Sprintf("starlingd %s%s %s %s/%s", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
