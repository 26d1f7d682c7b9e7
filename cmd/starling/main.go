// Command starling is the operator's command: it makes a swarm, lets robots in,
// builds, signs and ships releases, and shows how they fare.
//
// It talks to the agent on the same machine, "starling agent" on the operator's
// laptop and starlingd on a robot, over a unix socket. What changes the swarm is
// signed here with the operator's key: the agent that carries it decides nothing.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(mainExit()) }

// mainExit runs the command line and returns its exit code.
func mainExit() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
