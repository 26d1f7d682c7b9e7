package netsim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/scenario"
)

const (
	// tick is how often the story looks whether something has come true.
	tick = 250 * time.Millisecond
	// patience is how long an operator tries one command, and pause between tries.
	patience, again = 30 * time.Second, 2 * time.Second
)

// story does what the operators do, one step after the other. A step that fails for
// want of a quorum is tried again, as people do, until the run ends.
func (w *World) story(ctx context.Context) error {
	for i := range w.scenario.Story {
		s := &w.scenario.Story[i]
		if s.At != nil {
			if err := sleepUntil(ctx, Start.Add(*s.At)); err != nil {
				return err
			}
		}
		if s.After != nil {
			if err := w.until(ctx, *s.After); err != nil {
				return err
			}
		}
		w.tells(tale{i, true})
		key, _ := s.Action()
		for {
			err := w.act(ctx, s)
			if err == nil {
				w.truth.note(w.actor(s).name, "step", "%s", key)
				w.tells(tale{i + 1, false})
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.truth.note(w.actor(s).name, "step-failed", "%s: %v", key, err)
			if err := sleepUntil(ctx, time.Now().Add(again)); err != nil {
				return err
			}
		}
	}
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits for a condition, and then for its delay.
func (w *World) until(ctx context.Context, c scenario.Condition) error {
	for !w.isSo(c) {
		if err := sleepUntil(ctx, time.Now().Add(tick)); err != nil {
			return err
		}
	}
	return sleepUntil(ctx, time.Now().Add(c.Delay))
}

// actor is the operator who acts.
func (w *World) actor(s *scenario.Step) *operator {
	for _, o := range clone(w, &w.operators) {
		if o.name == s.By {
			return o
		}
	}
	return clone(w, &w.operators)[0]
}

// act does one step once.
func (w *World) act(ctx context.Context, s *scenario.Step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := w.actor(s)
	switch {
	case s.Ship != nil:
		r, err := w.named(s.Ship.Version)
		if err != nil {
			return err
		}
		return o.ship(ctx, r, s.Ship)
	case s.Publish != nil:
		r, err := w.named(*s.Publish)
		if err != nil {
			return err
		}
		return o.publish(ctx, r)
	case s.Pause != nil:
		return o.say(ctx, rollout.Intent{Verb: rollout.VerbPause, Reason: *s.Pause})
	case s.Resume != nil:
		return o.say(ctx, rollout.Intent{Verb: rollout.VerbResume, Reason: *s.Resume})
	case s.Renew != nil:
		return o.say(ctx, rollout.Intent{Verb: rollout.VerbRenew, Reason: *s.Renew})
	case s.Rollback != nil:
		return w.rollback(ctx, o, s.Rollback)
	case s.Halt != nil:
		return o.halt(ctx, true, *s.Halt)
	case s.Clear != nil:
		return o.halt(ctx, false, *s.Clear)
	case s.Leave != nil:
		for _, name := range w.pick(s.Leave, w.draw("leave").number()) {
			m := w.machineNamed(name)
			if m == nil {
				continue
			}
			if err := m.off(ctx); err != nil {
				return err
			}
		}
		return nil
	case s.Return != nil:
		for _, name := range w.pick(s.Return, w.draw("return").number()) {
			if m := w.machineNamed(name); m != nil && m.alive() == nil {
				if err := m.start(context.WithoutCancel(ctx)); err != nil {
					return err
				}
			}
		}
		return nil
	case s.Revoke != nil:
		n, err := o.on()
		if err != nil {
			return err
		}
		for _, name := range w.pick(s.Revoke, w.draw("revoke").number()) {
			if _, err := n.Revoke(ctx, member.ID(name)); err != nil {
				return err
			}
			w.watch.revoke(name)
		}
		return nil
	case s.Label != nil:
		n, err := o.on()
		if err != nil {
			return err
		}
		for _, name := range w.pick(&s.Label.Pick, w.draw("label").number()) {
			if err := n.SetLabels(ctx, member.ID(name), s.Label.Set); err != nil {
				return err
			}
		}
		return nil
	case s.Invite != nil:
		return w.inviteLate(context.WithoutCancel(ctx), s.Invite)
	case s.Genesis != nil:
		return w.beginAnew(ctx, o, s.Genesis)
	}
	key, _ := s.Action()
	return fmt.Errorf("the simulator cannot do %q yet", key)
}

func (w *World) rollback(ctx context.Context, o *operator, s *scenario.Rollback) error {
	in := rollout.Intent{Verb: rollout.VerbRollback, Reason: s.Reason}
	if s.To != "" {
		r, err := w.named(s.To)
		if err != nil {
			return err
		}
		in.To = r.Ref()
	}
	return o.say(ctx, in)
}

// beginAnew starts the next generation, once however often it is tried.
func (w *World) beginAnew(ctx context.Context, o *operator, s *scenario.Genesis) error {
	n, err := o.on()
	if err != nil {
		return err
	}
	v := n.View()
	if v.Order == nil {
		return errors.New("no generation has started")
	}
	voters := s.Voters
	if voters == 0 {
		voters = w.scenario.World.Voters.Count
	}
	return n.BeginAnew(ctx, v.Order.Generation, voters)
}

// inviteLate switches late groups on.
func (w *World) inviteLate(ctx context.Context, s *scenario.Invite) error {
	for _, name := range s.Groups {
		for g := range w.scenario.Fleet {
			group := &w.scenario.Fleet[g]
			if group.Name != name {
				continue
			}
			for i := range group.Count {
				if w.machineNamed(group.Robot(i)) != nil {
					continue // a try before has brought it
				}
				if err := w.addRobot(ctx, group, i); err != nil {
					return err
				}
				time.Sleep(s.Over / time.Duration(group.Count))
			}
		}
	}
	return nil
}
