package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/join"
)

// A view is what an operator must know of the swarm to sign anything, verified
// against the swarm's root of trust.
type view struct {
	client    *api.Client
	status    *node.Status
	trust     *trust.Set
	roster    *member.Roster
	rosterRef order.RosterRef
}

// look asks the agent and verifies what it says.
func (c *cli) look(ctx context.Context) (*view, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	v := &view{client: cl}
	if err := v.load(ctx); err != nil {
		cl.Close()
		return nil, err
	}
	return v, nil
}

func (v *view) load(ctx context.Context) error {
	var err error
	if v.status, err = v.client.Status(ctx); err != nil {
		return err
	}
	if !v.status.Joined {
		return problem(api.Unreachable, "starling status", "the agent does not take part in a swarm yet: %s", v.status.Text)
	}
	if v.trust, err = v.readTrust(ctx); err != nil {
		return err
	}
	data, err := v.client.Roster(ctx)
	if err != nil {
		return err
	}
	r, e, err := member.OpenRoster(data, v.status.Swarm, v.trust.Roles().Roster)
	if err != nil {
		return err
	}
	v.roster, v.rosterRef = r, order.RosterRef{Epoch: r.Epoch, Digest: e.Digest()}
	return nil
}

func (v *view) readTrust(ctx context.Context) (*trust.Set, error) {
	data, err := v.client.Trust(ctx)
	if err != nil {
		return nil, err
	}
	b, err := trust.DecodeBundle(data)
	if err != nil {
		return nil, err
	}
	return trust.Open(v.status.TrustRoot, b, nil, time.Time{})
}

func (v *view) close() { v.client.Close() }

// started is an error if nothing can be decided yet.
func (v *view) started() error {
	if v.status.Order == nil {
		return problem(api.NoQuorum, "starling invite; for a swarm of fewer than four robots: starling begin", "the swarm has not started: %s", v.status.Quorum.Text)
	}
	return nil
}

// idle is an error while a rollout is under way.
func (v *view) idle() error {
	if r := v.status.Rollout; r != nil && !r.Final {
		return problem(api.Refused, fmt.Sprintf("wait for it: starling rollout wait %d; or take it back: starling rollback", r.ID),
			"rollout %d of %s %s is %s, and there is one at a time", r.ID, r.Component, &r.Release, r.Status)
	}
	return nil
}

// active is what the swarm runs of a component; zero is nothing.
func (v *view) active(component string) manifest.Ref {
	for _, s := range v.status.Components {
		if s.Name == component {
			return ref(s.Active)
		}
	}
	return manifest.Ref{}
}

// ref is the name as plans and orders write it.
func ref(r *node.ReleaseName) manifest.Ref {
	if r == nil {
		return manifest.Ref{}
	}
	return manifest.Ref{Version: r.Version, Counter: r.Counter, Digest: r.Digest}
}

// electorate is who decides, as cohorts need it.
func (v *view) electorate() order.Electorate {
	e := order.Electorate{Version: 1}
	for _, s := range v.status.Quorum.Voters {
		if m := v.roster.At(s.Index); m != nil {
			e.Voters = append(e.Voters, order.Voter{Member: m.Index, Key: m.Key, Server: string(m.ID)})
		}
	}
	return e
}

// splitRelease reads "1.5.0" or "app/1.5.0".
func splitRelease(name, component string) (string, string) {
	if comp, version, ok := strings.Cut(name, "/"); ok {
		return comp, version
	}
	return component, name
}

// releaseArg is splitRelease of what a person wrote, who may have written nonsense.
func releaseArg(name, component string) (comp, version string, err error) {
	comp, version = splitRelease(name, component)
	if comp == "" || version == "" || strings.Contains(version, "/") || comp == "." || comp == ".." || version == "." || version == ".." {
		return "", "", problem(api.Usage, "starling release ls", "%q names no release: want VERSION, or COMPONENT/VERSION", name)
	}
	return comp, version, nil
}

// find returns a listed release by component and version.
func (v *view) find(component, version string) (trust.Listed, error) {
	l, ok := v.trust.Release(component, version)
	if ok {
		return l, nil
	}
	var known []string
	for _, k := range v.trust.Releases() {
		if k.Component == component {
			known = append(known, k.Ref.Version)
		}
	}
	has := "it has none of " + component
	if len(known) > 0 {
		has = "it has " + strings.Join(known, ", ")
	}
	return l, problem(api.Usage, "starling release ls; to add it: starling release sign FILE.star", "no release %s %s is signed in swarm %s: %s", component, version, v.status.Swarm, has)
}

// document returns the encoded release that ref names, verified.
func (v *view) document(ctx context.Context, r manifest.Ref) (*manifest.Release, []byte, error) {
	data, err := v.client.Document(ctx, join.ReleaseDocument, r.Digest.String())
	if err != nil {
		var p *api.Problem
		if errors.As(err, &p) && p.Code == api.Usage {
			err = problem(api.Usage, "starling release import FILE.star", "release %s is signed, but the agent does not have it: %s", r.Version, p.Reason)
		}
		return nil, nil, err
	}
	rel, err := v.trust.VerifyRelease(data)
	return rel, data, err
}

// current is the rollout that the swarm knows last; id must be its number, or 0.
func (v *view) current(id uint64) (*node.RolloutView, error) {
	r := v.status.Rollout
	if r == nil {
		return nil, problem(api.Usage, "starling rollout start RELEASE", "no rollout was ever started in swarm %s", v.status.Swarm)
	}
	if id != 0 && id != r.ID {
		return nil, problem(api.Usage, "starling rollout ls", "rollout %d is not the last one, which is %d (%s)", id, r.ID, r.Status)
	}
	return r, nil
}
