// Package update takes one component of one robot from release to release.
//
// A robot keeps two slots and one link. What runs lies in the slot that was
// committed; a new image goes into the other one. An Updater moves through phases:
//
//	idle → fetching → fetched → staging → staged → armed → trial → committed
//	                                                     ↘ reverting → reverted
//
// Up to armed nothing has changed for the payload. On trial the new slot runs on
// probation: it commits after it has been healthy for long enough, and goes back at
// the first failed probe, when it ends, or at a deadline. What must survive a loss
// of power is a Record, written before the step that it permits: the attempt counter
// is lowered on disk before control goes to the new slot, and only a commit clears
// it. Anything unreadable or unexpected means that the committed slot runs.
//
// The package is a machine: it does no I/O and reads no clock. Its driver brings
// events and executes actions:
//
//	u := update.New(rec, update.Config{})
//	do(u.Step(now, update.Restarted{Linked: true, Link: update.A, Running: true}))
//	do(u.Step(now, update.Wanted{Release: ref, Variant: v, MayArm: true, Rollout: 3}))
//
// The driver executes actions in order, answers a Save before it brings any other
// event, brings a Tick when Deadline has passed, and answers every other action that
// has an Op, sooner or later, with the event that the action names.
//
// DESIGN.md has the crash matrix: what holds after a cut at each point, and which
// test shows it.
package update
