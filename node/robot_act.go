package node

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
	"github.com/starling-swarm/starling/node/update"
)

// execute starts what the machine wants. Whatever takes time runs in a goroutine
// of its own and answers with an event.
func (r *robot) execute(ctx context.Context, g *errgroup.Group, a update.Action) {
	spawn := func(f func() update.Event) {
		g.Go(func() error {
			r.send(ctx, f())
			return nil
		})
	}
	switch a := a.(type) {
	case update.Fetch:
		ctx, cancel := context.WithCancel(ctx)
		r.fetch = cancel
		g.Go(func() error {
			defer cancel()
			r.send(ctx, r.bring(ctx, a))
			return nil
		})
	case update.CancelFetch:
		if r.fetch != nil {
			r.fetch()
		}
	case update.Stage:
		spawn(func() update.Event { return r.stage(ctx, a) })
	case update.Arm:
		spawn(func() update.Event { return r.ask(ctx, a) })
	case update.Switch:
		r.stopProbes()
		spawn(func() update.Event { return r.activate(ctx, g, a) })
	case update.Start:
		r.stopProbes()
		spawn(func() update.Event {
			p := r.payload(a.Slot, a.Content)
			return r.activated(ctx, g, a.Op, r.cfg.Installer.Start(ctx, p))
		})
	case update.Stop:
		r.stopProbes()
		spawn(func() update.Event {
			if err := r.cfg.Installer.Stop(ctx); err != nil {
				r.log.Error("payload not stopped", "err", err)
			}
			return update.Stopped(a)
		})
	case update.Commit:
		spawn(func() update.Event { return r.commit(ctx, a) })
	case update.Report:
		r.publish()
		r.n.tell()
		r.n.noteStatus(r.cfg.Name, a.Status)
	}
}

func (r *robot) payload(s update.Slot, c update.SlotRecord) install.Payload {
	return install.Payload{Slot: s, Release: c.Release, Manifest: c.Manifest, Component: r.cfg.Name, Run: c.Run}
}

// hook runs the hooks of a point about the release ref, which is in slot to or is
// going there.
func (r *robot) hook(ctx context.Context, p install.Point, to update.Slot, ref manifest.Ref) error {
	s := r.status()
	in := install.HookInput{
		API: install.Protocol, Point: p, Component: r.cfg.Name, Version: ref.Version, Release: ref.Digest,
		To: to.String(), SlotDir: r.cfg.Installer.SlotDir(to), Attempts: int(s.Attempts),
	}
	if from := to.Other(); s.Filled[from] {
		in.From = from.String()
	}
	if o := r.n.keeper.View().Order; o != nil && o.Rollout != nil && o.Rollout.Release.Digest == ref.Digest {
		in.Plan = o.Rollout.Plan
	}
	if f, ok := r.cfg.Installer.(folders); ok {
		in.Data, in.Cache = f.Folders()
	}
	return r.cfg.Hooks.Run(ctx, in)
}

// folders is an Installer that gives its payload folders of its own.
type folders interface {
	// Folders are $STARLING_DATA and $STARLING_CACHE.
	Folders() (data, cache string)
}

// bring fetches an image into its slot.
func (r *robot) bring(ctx context.Context, a update.Fetch) update.Event {
	fail := func(err error) update.Event {
		var full *store.SpaceError
		return update.FetchFailed{Op: a.Op, Err: err.Error(), Space: errors.As(err, &full) || errors.Is(err, store.ErrFull)}
	}
	if missing := r.cfg.Installer.Capabilities().Missing(a.Variant.Requires); missing != "" {
		return fail(fmt.Errorf("the release requires %q, which the driver here cannot do", missing))
	}
	if err := r.hook(ctx, install.PreCheck, a.Slot, a.Release); err != nil {
		return fail(err)
	}
	m, err := r.n.manifest(ctx, a.Variant.Manifest)
	if err != nil {
		return fail(err)
	}
	img, err := r.images.open(a.Slot, m)
	if err != nil {
		return fail(err)
	}
	if err := r.images.dropPack(img.Digest()); err != nil { // another image's: the room may be needed
		return fail(err)
	}
	if err := store.Admit(r.cfg.Installer.SlotDir(a.Slot), store.Need(m, img), r.n.cfg.ReserveBytes); err != nil {
		return fail(err)
	}
	progress := func(permille int) { r.send(ctx, update.Progress{Op: a.Op, Permille: uint16(permille)}) }
	if err := r.fill(ctx, a.Release.Digest, a.Slot, img, progress); err != nil {
		return fail(err)
	}
	if rel := r.n.releases.get(r.n.docs, a.Release.Digest); rel != nil { // for an export from here, when whoever imported it is away
		r.n.want(join.ProvenanceDocument, rel.Provenance)
	}
	return update.FetchDone{Op: a.Op}
}

// manifest returns the manifest with this digest, from here or from others.
func (n *Node) manifest(ctx context.Context, d manifest.Digest) (*manifest.Manifest, error) {
	data, err := n.document(ctx, join.ManifestDocument, d)
	if err != nil {
		return nil, err
	}
	return manifest.Decode(data)
}

// stage makes a fetched slot ready to run: read back whole, synced, read-only.
func (r *robot) stage(ctx context.Context, a update.Stage) update.Event {
	m, err := r.n.manifest(ctx, a.Content.Manifest)
	if err != nil {
		return update.StageFailed{Op: a.Op, Err: err.Error(), Later: true}
	}
	img, err := r.images.open(a.Slot, m) // for writing, also what a restart found whole
	if err != nil {
		return update.StageFailed{Op: a.Op, Err: err.Error(), Damaged: errors.Is(err, store.ErrDamaged)}
	}
	if err := img.Seal(ctx); err != nil {
		return update.StageFailed{Op: a.Op, Err: err.Error(), Damaged: errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrIncomplete)}
	}
	if err := r.cfg.Installer.Install(ctx, r.payload(a.Slot, a.Content)); err != nil {
		return update.StageFailed{Op: a.Op, Err: err.Error(), Later: later(err)}
	}
	return update.StageDone{Op: a.Op}
}

func later(err error) bool {
	return errors.Is(err, install.ErrLater) || errors.Is(err, install.ErrUnsafe)
}

// ask gets the robot's own consent, then a voter's.
func (r *robot) ask(ctx context.Context, a update.Arm) update.Event {
	for _, p := range []install.Point{install.Quiesce, install.PreActivate} {
		if err := r.hook(ctx, p, a.Slot, a.Release); err != nil {
			return update.Refused{Op: a.Op, Reason: err.Error()}
		}
	}
	if err := r.n.arm(ctx, r.cfg.Name, a.Release, r.status().Committed.IsZero()); err != nil {
		if e := r.hook(ctx, install.PostRevert, a.Slot, a.Release); e != nil {
			r.log.Warn("hook after a refusal", "err", e)
		}
		return update.Refused{Op: a.Op, Reason: err.Error()}
	}
	return update.Granted{Op: a.Op}
}

// activate switches to a slot, and tells the hooks of a revert if it is one.
func (r *robot) activate(ctx context.Context, g *errgroup.Group, a update.Switch) update.Event {
	if a.Back {
		if err := r.hook(ctx, install.PreRevert, a.To, a.Content.Release); err != nil && later(err) {
			return update.ActivateFailed{Op: a.Op, Err: err.Error(), Later: true}
		} else if err != nil {
			r.log.Warn("hook before going back failed; going back all the same", "err", err)
		}
	}
	e := r.activated(ctx, g, a.Op, r.cfg.Installer.Activate(ctx, r.payload(a.To, a.Content), a.Back))
	if a.Back {
		if err := r.hook(ctx, install.PostRevert, a.To, a.Content.Release); err != nil {
			r.log.Warn("hook after going back", "err", err)
		}
	}
	return e
}

// activated is the answer to a switch or start; a payload that runs is probed.
func (r *robot) activated(ctx context.Context, g *errgroup.Group, op uint32, err error) update.Event {
	if err != nil {
		return update.ActivateFailed{Op: op, Err: err.Error(), Later: later(err)}
	}
	r.failPoint("activated")
	r.probe(ctx, g)
	return update.Activated{Op: op}
}

func (r *robot) commit(ctx context.Context, a update.Commit) update.Event {
	if err := r.cfg.Installer.Commit(ctx, r.payload(a.Slot, a.Content)); err != nil {
		return update.CommitFailed{Op: a.Op, Err: err.Error()}
	}
	if err := r.hook(ctx, install.Committed, a.Slot, a.Content.Release); err != nil {
		r.log.Warn("hook after the commit", "err", err)
	}
	return update.CommitDone{Op: a.Op}
}

// probe runs the probes until stopProbes.
func (r *robot) probe(ctx context.Context, g *errgroup.Group) {
	ctx, cancel := context.WithCancel(ctx)
	r.probeMu.Lock()
	r.probing = cancel
	r.probeMu.Unlock()
	g.Go(func() error {
		defer cancel()
		return r.probes.Run(ctx)
	})
}

func (r *robot) stopProbes() {
	r.probeMu.Lock()
	defer r.probeMu.Unlock()
	if r.probing != nil {
		r.probing()
		r.probing = nil
	}
}
