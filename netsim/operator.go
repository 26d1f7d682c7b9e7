package netsim

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/netsim/exact"
	"github.com/starling-swarm/starling/netsim/scenario"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// An operator is a laptop with the keys.
type operator struct {
	machine
	w       *World
	key     ed25519.PrivateKey
	intents uint64 // guarded by World.mu: the counter of this key's words
}

// A release is what was built.
type release struct {
	*manifest.Release
	spec *scenario.Release
	star string // file
	// files are the contents of each variant by model, then path: the truth about its
	// bytes. Model "" is any.
	files map[string]map[string][]byte
}

var errOff = errors.New("the operator's laptop is off")

// operatorKey is the key of the scenario's operator i, from 0.
func (w *World) operatorKey(i int) ed25519.PrivateKey { return w.draw("operator", i).key() }

// operatorKeys are those of all operators.
func (w *World) operatorKeys() (keys []ed25519.PrivateKey) {
	for i := range w.scenario.Operators {
		keys = append(keys, w.operatorKey(i))
	}
	return keys
}

// signers are the keys that one operator holds.
func (o *operator) signers() trust.Signers {
	return trust.Signers{Owner: []ed25519.PrivateKey{o.w.owner}, Operator: []ed25519.PrivateKey{o.key}}
}

// build makes a release of bytes that are drawn from the seed and its name.
func (w *World) build(ctx context.Context, s *scenario.Release) (*release, error) {
	w.mu.Lock()
	w.counters[s.Component]++
	counter := w.counters[s.Component]
	w.mu.Unlock()
	out := &release{spec: s, files: map[string]map[string][]byte{}}
	dir := filepath.Join(w.dir, "src", s.Component+"-"+s.Version)
	models := []string{""}
	if len(s.Variants) > 0 {
		models = nil
		for _, v := range s.Variants {
			models = append(models, v.Model)
		}
	}
	spec := bundle.Spec{Component: s.Component, Version: s.Version, Counter: counter, Fallbacks: w.fallbacks(s.Component)}
	for _, model := range models {
		files := map[string][]byte{"run": fmt.Appendf(nil, "%s %s %s\n", s.Component, s.Version, model), "data": w.bytesOf(s, model)}
		v := bundle.VariantSpec{Name: "all", Path: filepath.Join(dir, "v-"+model), Run: []string{"run"}}
		if model != "" {
			v.Name, v.Match = model, map[string]string{"model": model}
		}
		if err := os.MkdirAll(v.Path, 0o755); err != nil {
			return nil, err
		}
		for f, data := range files {
			if err := os.WriteFile(filepath.Join(v.Path, f), data, 0o755); err != nil {
				return nil, err
			}
		}
		spec.Variants, out.files[model] = append(spec.Variants, v), files
	}
	out.star = dir + ".star"
	var err error
	if out.Release, err = bundle.Build(ctx, spec, w.owner, out.star, nil); err != nil {
		return nil, fmt.Errorf("build %s: %w", s.Ref(), err)
	}
	add(w, &w.releases, out)
	return out, nil
}

// fallbacks are the component's last releases: going back to them is allowed.
func (w *World) fallbacks(component string) []manifest.Ref {
	var refs []manifest.Ref
	for _, r := range w.built() {
		if r.Component == component {
			refs = append(refs, r.Ref())
		}
	}
	return refs[max(0, len(refs)-4):]
}

// bytesOf draws an image: its first part is that of the component's release before.
func (w *World) bytesOf(s *scenario.Release, model string) []byte {
	data := make([]byte, s.Bytes(model))
	w.draw("image", s.Ref(), model).fill(data)
	for _, r := range slices.Backward(w.built()) {
		if r.Component == s.Component {
			before, ok := r.files[model]
			if !ok {
				before = r.files[""]
			}
			copy(data[:int64(len(data))*int64(s.Shared)/int64(scenario.Whole)], before["data"])
			break
		}
	}
	return data
}

// found makes the swarm, with its first releases published, and boots the first
// operator's node.
func (w *World) found(ctx context.Context, o *operator, first []*release) error {
	var keys []envelope.Key
	for _, k := range w.operatorKeys() {
		keys = append(keys, envelope.KeyOf(k))
	}
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(w.owner)}, 1, keys, o.signers(), time.Now())
	if err != nil {
		return fmt.Errorf("found the swarm: %w", err)
	}
	for _, r := range first {
		if b, err = trust.Publish(b, []*manifest.Release{r.Release}, o.signers(), time.Now()); err != nil {
			return fmt.Errorf("publish %s: %w", r.Version, err)
		}
	}
	if err := node.Found(o.cfg.Dir, w.swarm, member.ID(o.name), b, o.key); err != nil {
		return err
	}
	if err := o.start(ctx); err != nil {
		return err
	}
	if err := o.ready(ctx); err != nil {
		return err
	}
	for _, r := range first {
		if _, err := o.alive().node.Import(ctx, r.star); err != nil {
			return fmt.Errorf("seed %s: %w", r.Version, err)
		}
	}
	return nil
}

// ready waits until the node takes part.
func (m *machine) ready(ctx context.Context) error {
	l := m.alive()
	if l == nil {
		return fmt.Errorf("%s is off", m.name)
	}
	select {
	case <-l.node.Ready():
		return nil
	case <-l.gone:
		return fmt.Errorf("%s ended: %w", m.name, l.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// on is the operator's node, or errOff.
func (o *operator) on() (*node.Node, error) {
	l := o.alive()
	if l == nil || l.node.View() == nil {
		return nil, errOff
	}
	return l.node, nil
}

// invite lets one machine in.
func (o *operator) invite(ctx context.Context, r node.InviteRequest) (*join.Invite, error) {
	n, err := o.on()
	if err != nil {
		return nil, err
	}
	r.Seconds = int64(30 * 24 * time.Hour / time.Second)
	return n.Invite(ctx, r)
}

// publish lists a release under the owner's key and seeds it; a second time, it does
// nothing.
func (o *operator) publish(ctx context.Context, r *release) error {
	n, err := o.on()
	if err != nil {
		return err
	}
	if _, err := n.Import(ctx, r.star); err != nil {
		return fmt.Errorf("seed %s: %w", r.Version, err)
	}
	have := n.View().Trust
	if l, ok := have.Release(r.Component, r.Version); ok && l.Ref == r.Ref() {
		return nil
	}
	b, err := trust.Publish(have.Bundle(), []*manifest.Release{r.Release}, o.signers(), o.clock())
	if err != nil {
		return fmt.Errorf("publish %s: %w", r.Version, err)
	}
	switch done, err := n.TakeTrust(ctx, b.Encode()); {
	case err != nil:
		return fmt.Errorf("publish %s: %w", r.Version, err)
	case !done && n.View().Order != nil:
		return fmt.Errorf("publish %s: the voters have not taken it yet: %w", r.Version, context.Cause(ctx))
	}
	return nil
}

// ship publishes a release and brings a plan for it to the swarm.
func (o *operator) ship(ctx context.Context, r *release, s *scenario.Ship) error {
	if err := o.publish(ctx, r); err != nil {
		return err
	}
	n, err := o.on()
	if err != nil {
		return err
	}
	v := n.View()
	if v.Order == nil {
		return errors.New("the swarm has not started yet")
	}
	if x := v.Order.Rollout; o.w.isGiven(r) && x != nil && x.Release == r.Ref() { // a try before has brought it
		return o.vouch(ctx, r)
	}
	var p *rollout.Plan
	exact.As(o.number, func() { p, err = o.w.plan(r, s) })
	if err != nil {
		return err
	}
	if c := v.Order.Component(p.Component); c != nil {
		p.From = c.Active
	}
	if err := p.Check(); err != nil {
		return err
	}
	sealed := p.Seal().Sign(o.key)
	x, err := rollout.NewExtract(p, r.Release, v.Roster, v.RosterRef, v.Order.Trust.Digest)
	if err != nil {
		return err
	}
	o.w.checks.ships(p, sealed.Digest(), r.Release, v)
	o.w.watch.shipped(p, sealed.Digest())
	start := &rollout.Start{
		Intent: o.word(rollout.Intent{Verb: rollout.VerbStart, Plan: sealed.Digest(), Extract: x.Digest()}),
		Plan:   sealed.Encode(), Release: r.Encode(), Extract: x,
	}
	if p.From.Counter > p.Release.Counter {
		for _, b := range o.w.built() {
			if b.Ref() == p.From {
				start.From = b.Encode()
			}
		}
	}
	err = n.Propose(ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindStart, Start: start})
	if err == nil && o.w.isGiven(r) {
		err = o.vouch(ctx, r)
	}
	return err
}

// word signs an intent.
func (o *operator) word(in rollout.Intent) []byte {
	in.Format, in.Swarm, in.Counter = rollout.IntentFormat, o.w.swarm, o.w.count(&o.intents)
	return in.Seal().Sign(o.key).Encode()
}

// say brings an operator's word on the last rollout to the swarm.
func (o *operator) say(ctx context.Context, in rollout.Intent) error {
	n, err := o.on()
	if err != nil {
		return err
	}
	if v := n.View(); v.Order != nil && v.Order.Rollout != nil {
		in.Rollout = v.Order.Rollout.ID
	}
	if in.Verb == rollout.VerbResume {
		o.w.checks.resumes(in.Rollout)
	}
	return n.Propose(ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindIntent, Intent: o.word(in)})
}

// halt freezes the swarm, or ends that.
func (o *operator) halt(ctx context.Context, halted bool, reason string) error {
	n, err := o.on()
	if err != nil {
		return err
	}
	t := halt.Token{Format: halt.Format, Swarm: o.w.swarm, Counter: o.w.count(&o.w.halts), Halted: halted, Reason: reason}
	e := t.Seal()
	for _, k := range o.w.operatorKeys() { // of two operators both must sign the end of a halt
		e = e.Sign(k)
	}
	if _, err = n.Halt(ctx, e.Encode()); err == nil {
		o.w.watch.halt(halted)
	}
	return err
}
