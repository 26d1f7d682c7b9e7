// Package install carries out what the machine in package update decides: it
// switches slots, starts and watches payloads, runs scripts, and asks probes and
// gates.
//
// A Driver knows one way to install a component. DirSlot keeps two directories
// and a link, and runs the payload as a process, or as a systemd unit (Unit).
// Script hands everything to a program of the user's. Whatever the driver, the
// payload outlives this process: its death is not the payload's, and the next
// process adopts it.
//
//	d, err := install.NewDirSlot(install.DirSlotConfig{Root: root, Component: "app"})
//	go d.Run(ctx)                       // watches what Start starts
//	p := install.Payload{Slot: update.B, Run: []string{"bin/nav"}}
//	err = d.Activate(ctx, p, false)     // stops, flips the link, starts
//	exit := <-d.Exited()                // it ended, and nobody had stopped it
//
// Hooks, Probes and Gate are what surrounds a switch: scripts that may say later
// or unsafe, questions that say whether the payload is well, and the interlock
// with the application.
package install

import (
	"context"
	"errors"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/update"
)

var (
	// ErrLater is wrapped when a script asks to be called again: defer, and blame
	// nobody.
	ErrLater = errors.New("install: asked to come back later")
	// ErrUnsafe is wrapped when a script says that the robot is in no state for
	// this: defer, and say so to a person.
	ErrUnsafe = errors.New("install: unsafe now")
	// ErrNoCommand is returned by Start when neither the release nor the
	// configuration says what to run.
	ErrNoCommand = errors.New("install: nothing says what to run")
)

// Capabilities are what a driver can do. A plan may demand some of them, and a
// variant may require them by name.
type Capabilities struct {
	Atomic bool // a switch happens whole or not at all, through any loss of power
	AB     bool // the old release stays whole beside the new one
	Revert bool // it can go back
	Reboot bool // a switch takes a reboot
	// SpaceFactor is how many copies of an image lie on disk while it is installed,
	// beside the one that runs.
	SpaceFactor int
}

// Missing returns the first of the names that c cannot do ("atomic", "ab",
// "revert"), or empty. An unknown name cannot be done.
func (c Capabilities) Missing(names []string) string {
	can := map[string]bool{"atomic": c.Atomic, "ab": c.AB, "revert": c.Revert}
	for _, n := range names {
		if !can[n] {
			return n
		}
	}
	return ""
}

// A Payload says what to run, from which slot.
type Payload struct {
	Slot      update.Slot
	Release   manifest.Ref
	Manifest  manifest.Digest
	Component string
	Run       []string // relative to the slot; empty: what the configuration says
}

// An Exit is a payload's end that nobody had asked for.
type Exit struct {
	Slot update.Slot
	// Code is the exit status, or -1 if a signal ended it or nobody can know it
	// (an adopted process is not our child).
	Code int
	// Reason is for people: "exit status 3", "signal: killed", "gone".
	Reason string
	// Said is the last line that the payload wrote, at most MaxSaid bytes; Log is
	// where all of it is: a path, or a command that shows it. Empty if not known.
	Said, Log string
}

// A Found is what a driver sees when it looks.
type Found struct {
	Linked  bool
	Link    update.Slot // what the link points to
	Marked  bool
	Mark    update.Slot // what the last Commit marked
	Running bool
	Slot    update.Slot // where the payload was started from
}

// Event is what the machine wants to hear of f first.
func (f Found) Event(lost bool) update.Restarted {
	return update.Restarted{
		Linked: f.Linked, Link: f.Link, Marked: f.Marked, Mark: f.Mark,
		Running: f.Running, Slot: f.Slot, Lost: lost,
	}
}

// A Driver switches the slots of one component and supervises its payload. It
// does not write images: the store does, into SlotDir. Its methods are called by
// one goroutine, Run and Exited by others. Errors may wrap ErrLater or ErrUnsafe.
type Driver interface {
	Capabilities() Capabilities
	// SlotDir is where the image of a slot is written.
	SlotDir(s update.Slot) string
	// Find looks at the links, and adopts a payload that runs already. It is called
	// once, before everything else.
	Find(ctx context.Context) (Found, error)
	// Install makes an image that was verified in SlotDir ready to run.
	Install(ctx context.Context, p Payload) error
	// Activate stops the payload, makes p.Slot current and starts what is there. back
	// says that it is the way back. It returns once the process exists; whether it is
	// well is for probes to say. After an error, what runs is unknown: Start again.
	Activate(ctx context.Context, p Payload, back bool) error
	// Start starts the payload in p.Slot, after stopping one that still runs, and
	// moves no link.
	Start(ctx context.Context, p Payload) error
	// Stop returns when nothing of the payload runs any more; it is no error if
	// nothing ran. Its end is not told on Exited.
	Stop(ctx context.Context) error
	// Commit marks the slot as the one to trust when all records are lost. It is
	// idempotent.
	Commit(ctx context.Context, p Payload) error
	// Exited tells of payloads that ended by themselves, while Run runs. It holds
	// one Exit; it is never closed.
	Exited() <-chan Exit
	// Run watches the payload until ctx ends. The payload goes on.
	Run(ctx context.Context) error
}
