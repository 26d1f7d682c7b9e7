package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starling-swarm/starling/gossip/member"
)

// The schemas of what the functions of this file return.
const (
	ReleasesSchema = "starling.releases/v1"
	RolloutsSchema = "starling.rollouts/v1"
	// RolloutDetailSchema is that of one rollout with its history; the command line
	// prints one without it as starling.rollout/v1.
	RolloutDetailSchema = "starling.rollout-detail/v1"
)

// ErrNoRollout is returned for a rollout that neither the order nor the history of
// this node has; Rollouts lists those it has.
var ErrNoRollout = errors.New("node: no such rollout")

// Releases are what the owner has signed, as far as this node knows.
type Releases struct {
	Schema   string        `json:"schema"`
	Time     time.Time     `json:"time"`
	Trust    TrustView     `json:"trust"`
	Releases []ReleaseView `json:"releases"` // by component, then counter
}

// TrustView says which trust metadata this node has, and which the swarm has.
type TrustView struct {
	Root      uint64    `json:"root"`
	Targets   uint64    `json:"targets"`
	Digest    string    `json:"digest"`
	Expires   time.Time `json:"expires"`
	Expired   bool      `json:"expired"`
	Published bool      `json:"published"` // the voters have it too
}

// A ReleaseView is one release with how the swarm stands to it.
type ReleaseView struct {
	ReleaseName
	Active      bool     `json:"active"`
	Previous    bool     `json:"previous"`
	Rolling     bool     `json:"rolling"` // a rollout of it is under way
	Quarantined bool     `json:"quarantined"`
	Variants    []string `json:"variants"` // empty if the release document is not here
	Notes       string   `json:"notes,omitempty"`
	Held        []string `json:"held"` // variants whose image is served from here
}

// Releases lists the releases that the trust metadata names.
func (n *Node) Releases() *Releases {
	out := &Releases{Schema: ReleasesSchema, Time: time.Now().UTC(), Releases: []ReleaseView{}}
	v := n.View()
	if v == nil || v.Trust == nil {
		return out
	}
	ref := v.Trust.Ref()
	out.Trust = TrustView{
		Root: ref.Root, Targets: ref.Targets, Digest: ref.Digest.String(), Expires: v.Trust.Expires(),
		Expired: v.Trust.Expired(v.now()), Published: v.Order != nil && v.Order.Trust == ref,
	}
	for _, l := range v.Trust.Releases() {
		w := ReleaseView{ReleaseName: *nameRef(l.Component, l.Ref), Variants: []string{}, Held: []string{}}
		if o := v.Order; o != nil {
			w.Quarantined = o.Quarantined(l.Ref.Digest)
			if c := o.Component(l.Component); c != nil {
				w.Active, w.Previous = c.Active.Digest == l.Ref.Digest, c.Previous.Digest == l.Ref.Digest
			}
			w.Rolling = o.Rollout != nil && !o.Rollout.Status.Final() && o.Rollout.Release.Digest == l.Ref.Digest
		}
		if rel := n.releases.get(n.docs, l.Ref.Digest); rel != nil {
			w.Notes = rel.Notes
			for _, variant := range rel.Variants {
				w.Variants = append(w.Variants, variant.Name)
				if _, held := n.exchange.Stats(variant.Manifest); held {
					w.Held = append(w.Held, variant.Name)
				}
			}
		}
		out.Releases = append(out.Releases, w)
	}
	return out
}

// Rollouts are those that this node knows of, the newest first.
type Rollouts struct {
	Schema   string        `json:"schema"`
	Time     time.Time     `json:"time"`
	SeenBy   member.ID     `json:"seen_by"`
	Started  uint64        `json:"started"` // how many there ever were, by the order
	Rollouts []RolloutView `json:"rollouts"`
}

// A RolloutDetail is one rollout with what this node saw of it, oldest first.
type RolloutDetail struct {
	Schema string `json:"schema"`
	RolloutView
	Details []string `json:"details"` // what a voter knows beyond the order
	Events  []Event  `json:"events"`
}

// Rollouts lists the rollout of the order and those that the history of this node
// has: the older ones as they were last seen from here.
func (n *Node) Rollouts() *Rollouts {
	out := &Rollouts{Schema: RolloutsSchema, Time: time.Now().UTC(), Rollouts: []RolloutView{}}
	v := n.View()
	if v == nil {
		return out
	}
	out.SeenBy = v.ID
	if v.Order != nil {
		out.Started = v.Order.Rollouts
		if r := n.rolloutOf(v, v.Order); r != nil {
			out.Rollouts = append(out.Rollouts, *r)
		}
	}
	seen := func(id uint64) bool {
		return slices.ContainsFunc(out.Rollouts, func(r RolloutView) bool { return r.ID == id })
	}
	events := n.events.since(0)
	for i := len(events) - 1; i >= 0; i-- {
		if e := events[i]; e.Kind == orderEvent && e.Rollout != 0 && !seen(e.Rollout) {
			out.Rollouts = append(out.Rollouts, e.rollout())
		}
	}
	slices.SortFunc(out.Rollouts, func(a, b RolloutView) int { return int(b.ID) - int(a.ID) })
	return out
}

// Rollout is one of Rollouts with its history, or ErrNoRollout.
func (n *Node) Rollout(id uint64) (*RolloutDetail, error) {
	all := n.Rollouts()
	i := slices.IndexFunc(all.Rollouts, func(r RolloutView) bool { return r.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: %d; this node knows of %d", ErrNoRollout, id, len(all.Rollouts))
	}
	out := &RolloutDetail{Schema: RolloutDetailSchema, RolloutView: all.Rollouts[i], Details: []string{}, Events: []Event{}}
	for _, e := range n.events.since(0) {
		if e.Rollout == id {
			out.Events = append(out.Events, e)
		}
	}
	if v := n.View(); v.Order != nil && v.Order.Rollout != nil && v.Order.Rollout.ID == id {
		out.Details = n.rolloutDetails(v)
	}
	return out, nil
}
