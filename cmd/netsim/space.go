package main

import (
	"fmt"
	"os"

	"github.com/starling-swarm/starling/artifacts/store"
)

// ramDisk is where runs keep their state if there is room: nodes sync a lot.
var ramDisk = "/dev/shm"

var (
	// roomyFree is what the RAM disk must have left to be used: containers often have one
	// of 64 MiB, and ten robots with a small release take as much.
	roomyFree int64 = 256 << 20
	// leastFree is what must be left after a run for its failure to be the swarm's.
	leastFree int64 = 32 << 20
)

// tempDir is a new directory for the state of one run.
func tempDir() (string, error) {
	if free, _, err := store.Disk(ramDisk); err == nil && free >= roomyFree {
		if d, err := os.MkdirTemp(ramDisk, "netsim."); err == nil {
			return d, nil
		}
	}
	return os.MkdirTemp("", "netsim.")
}

// fullDisk is an error if the disk of a run's directory is full: robots that find no
// space fail, and nothing is wrong with the swarm.
func fullDisk(dir string) error {
	free, _, err := store.Disk(dir)
	if err != nil {
		return err
	}
	if free >= leastFree {
		return nil
	}
	return fmt.Errorf("%s has only %d MiB left: what went wrong in this run may come of that; make room there, or run fewer at once with --parallel", dir, free>>20)
}
