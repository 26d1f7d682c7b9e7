package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// A prospect is a plan and what this swarm makes of it.
type prospect struct {
	plan    *rollout.Plan
	sealed  *envelope.Envelope // nil until it is signed
	release *manifest.Release
	doc     []byte // the encoded release
	extract rollout.Extract
	preview *rollout.Preview
	away    []string // robots of it that this machine does not hear now
	star    string   // the .star file with the images, while the agent does not have them
	cost    cost
}

func (c *cli) rolloutPlan() *cobra.Command {
	k := &knobs{}
	var out string
	cmd := &cobra.Command{
		Use:   "plan RELEASE",
		Short: "Show what a rollout would do, in robots and hours, before anything is signed",
		Long: `Show what a rollout of RELEASE would be in this swarm: which robots, in which
order, which gates can never fire with so few of them, and when it could be done at
the earliest. A plan that can never be satisfied is refused.

Which robots go first is drawn by lot for each plan: -o signs and keeps this very
one, for rollout start --plan FILE.`,
		Example: `  starling rollout plan 1.5.0
  starling rollout plan 1.5.0 --canary 10% --soak 4h --max-rate 200KiB/s --only-when charging,still
  starling rollout plan models/2026-05 --batch 2 --floor role=fire:2 -o may.plan`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := c.look(cmd.Context())
			if err != nil {
				return err
			}
			defer v.close()
			p, err := c.prospect(cmd.Context(), v, args[0], k)
			if err != nil {
				return err
			}
			if out != "" {
				if err := c.savePlan(p, out); err != nil {
					return err
				}
			}
			return c.answer(p.view(v), func() {
				c.sayPlan(v, p)
				if out != "" {
					c.next("starling rollout start --plan %s", out)
				} else {
					c.next("starling rollout start %s, with the same flags", args[0])
				}
			})
		},
	}
	k.flags(cmd)
	cmd.Flags().StringVarP(&out, "out", "o", "", "sign the plan and write it to this `file`")
	return cmd
}

// savePlan signs a plan and writes it down.
func (c *cli) savePlan(p *prospect, path string) error {
	h, err := c.home()
	if err != nil {
		return err
	}
	key, err := c.openKey(h, "operator")
	if err != nil {
		return err
	}
	p.sealed = p.plan.Seal().Sign(key)
	return durable.WriteFile(path, p.sealed.Encode(), 0o644)
}

// prospect makes a plan of the flags for a release of this swarm.
func (c *cli) prospect(ctx context.Context, v *view, name string, k *knobs) (*prospect, error) {
	plan, err := k.plan(time.Now())
	if err != nil {
		return nil, err
	}
	if err := v.started(); err != nil {
		return nil, err
	}
	comp, version := splitRelease(name, plan.Component)
	l, err := v.find(comp, version)
	if err != nil {
		return nil, err
	}
	plan.Swarm, plan.Component, plan.Release, plan.From = v.status.Swarm, comp, l.Ref, v.active(comp)
	if plan.From.Digest == plan.Release.Digest {
		return nil, problem(api.Refused, "starling status", "%s %s is active already", comp, version)
	}
	return complete(ctx, v, &prospect{plan: plan})
}

// rehearse makes the plan for a release that is not signed yet, and finds what is
// wrong with it. Its extract must be made again when the release is signed.
// star is the file that it is in.
func rehearse(ctx context.Context, v *view, rel *manifest.Release, star string, k *knobs) (*prospect, error) {
	plan, err := k.plan(time.Now())
	if err != nil {
		return nil, err
	}
	plan.Swarm, plan.Component, plan.Release, plan.From = v.status.Swarm, rel.Component, rel.Ref(), v.active(rel.Component)
	return check(ctx, v, &prospect{plan: plan, release: rel, star: star})
}

// readPlan opens a signed plan for this swarm, now.
func readPlan(ctx context.Context, v *view, path string) (*prospect, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	plan, sealed, err := rollout.OpenPlan(data, v.status.Swarm, v.trust.Roles().Plan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := v.started(); err != nil {
		return nil, err
	}
	if left := time.Until(time.Unix(plan.Expires, 0)); left < 0 {
		return nil, fmt.Errorf("%s: %w %s ago", path, rollout.ErrExpired, age(int64(-left.Seconds())))
	}
	if from := v.active(plan.Component); from != plan.From {
		return nil, problem(api.Refused, "make a new plan: starling rollout plan "+plan.Release.Version,
			"%s was made when %s was active, now it is %s", path, plan.From, from)
	}
	return complete(ctx, v, &prospect{plan: plan, sealed: sealed})
}

// complete fills in the signed release, the extract and the preview.
func complete(ctx context.Context, v *view, p *prospect) (*prospect, error) {
	var err error
	if p.release, p.doc, err = v.document(ctx, p.plan.Release); err != nil {
		return nil, err
	}
	return check(ctx, v, p)
}

// check fills in the extract and the preview, and refuses what cannot be.
func check(ctx context.Context, v *view, p *prospect) (*prospect, error) {
	var err error
	if err = mayFollow(ctx, v, p); err != nil {
		return nil, err
	}
	if p.extract, err = rollout.NewExtract(p.plan, p.release, v.roster, v.rosterRef, v.trust.Ref().Digest); err != nil {
		return nil, err
	}
	if p.preview, err = rollout.NewPreview(p.plan, p.extract, v.electorate()); err != nil {
		return nil, err
	}
	if err := errors.Join(fits(v, p), transferFits(v, p.plan)); err != nil {
		return nil, err
	}
	all, err := v.client.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	p.away = away(all, p.preview)
	p.cost, err = p.costOf(ctx, v, all)
	return p, err
}

// A planView is a plan in this swarm's whole numbers, for tools.
type planView struct {
	Schema        string        `json:"schema"`
	Swarm         string        `json:"swarm"`
	Component     string        `json:"component"`
	Release       string        `json:"release"`
	From          string        `json:"from"`
	Plan          *rollout.Plan `json:"plan"`
	Digest        string        `json:"digest"`
	Robots        int           `json:"robots"`
	Canaries      []string      `json:"canaries"`
	NotApplicable []string      `json:"not_applicable"`
	BatchSize     int           `json:"batch_size"`
	Stages        []stageView   `json:"stages"`
	Seconds       int64         `json:"earliest_seconds"`
	Bytes         uint64        `json:"bytes"` // of all robots' images together
	Cost          cost          `json:"cost"`
	Warnings      []string      `json:"warnings"`
}

type stageView struct {
	Stage         string   `json:"stage"`
	Wave          uint8    `json:"wave,omitempty"`
	Robots        []string `json:"robots"`
	Batches       int      `json:"batches"`
	Largest       int      `json:"largest_batch"`
	MayFail       int      `json:"may_fail"`
	SoakSeconds   int64    `json:"soak_seconds"`
	ExposeSeconds int64    `json:"exposure_seconds"`
	OpensSeconds  int64    `json:"opens_seconds"` // after the start, at the earliest
	EndsSeconds   int64    `json:"ends_seconds"`
}

func (p *prospect) view(v *view) *planView {
	names := func(s member.Set) []string { return append([]string{}, v.roster.Names(s)...) }
	out := &planView{
		Schema: "starling.plan/v1", Swarm: p.plan.Swarm, Component: p.plan.Component, Release: p.plan.Release.Version, From: p.plan.From.Version,
		Plan: p.plan, Digest: p.plan.Seal().Digest().String(), Robots: p.preview.Robots, Canaries: names(p.preview.Canaries),
		NotApplicable: names(p.preview.NotApplicable), BatchSize: p.preview.BatchSize, Stages: []stageView{}, Bytes: p.bytes(v), Cost: p.cost,
		Seconds: int64(p.preview.Earliest / time.Second), Warnings: p.warnings(v),
	}
	for _, s := range p.preview.Stages {
		out.Stages = append(out.Stages, stageView{
			Stage: s.Stage.String(), Wave: s.Wave, Robots: names(s.Robots), Batches: s.Batches, Largest: s.Largest, MayFail: s.Limit,
			SoakSeconds: int64(s.Soak / time.Second), ExposeSeconds: int64(s.Exposure / time.Second),
			OpensSeconds: int64(s.Opens / time.Second), EndsSeconds: int64(s.Ends / time.Second),
		})
	}
	return out
}

// bytes is what all robots would install together, before any delta.
func (p *prospect) bytes(v *view) uint64 {
	var sum uint64
	for _, m := range v.roster.Robots() {
		if w := p.release.For(m.Labels); w != nil {
			sum += w.Bytes
		}
	}
	return sum
}

func (c *cli) sayPlan(v *view, p *prospect) {
	from := p.plan.From.Version
	if from == "" {
		from = "nothing"
	}
	c.say("%s %s → %s   %d robots, %d at once, %s in all (each robot fetches only what it lacks)",
		p.plan.Component, from, p.plan.Release.Version, p.preview.Robots, p.preview.BatchSize, bytesWords(int64(p.bytes(v))))
	rows := [][]string{{"STAGE", "ROBOTS", "BATCHES", "MAY FAIL", "SOAK", "OPENS AFTER", "NAMES"}}
	if p.plan.Sim {
		rows = append(rows, []string{"sim", "-", "-", "-", "-", "", "waits for: netsim rehearse, or starling report sign --stage sim"})
	}
	for _, s := range p.preview.Stages {
		name, names := s.Stage.String(), strings.Join(short(v.roster.Names(s.Robots), 8), " ")
		if s.Stage == order.Wave {
			name = fmt.Sprintf("wave %d", s.Wave)
		}
		if s.Stage == order.Soak {
			names = "all"
		}
		soak := span(s.Soak)
		if s.Exposure > 0 {
			soak += fmt.Sprintf(", %s together", span(s.Exposure))
		}
		rows = append(rows, []string{name, fmt.Sprint(s.Robots.Count()), fmt.Sprint(s.Batches), fmt.Sprint(s.Limit), soak, span(s.Opens), names})
	}
	c.table(rows)
	c.say("done after %s at the earliest; the plan ends %s", span(p.preview.Earliest), time.Unix(p.plan.Expires, 0).Format("2006-01-02 15:04"))
	if !p.plan.Transfer.IsZero() {
		c.say("images, while it is open: %s", p.plan.Transfer)
	}
	for _, w := range p.warnings(v) {
		c.say("%s %s", c.paint(yellow, "!"), w)
	}
	star := p.star
	if star == "" {
		star = p.plan.Component + "-" + p.plan.Release.Version + ".star"
	}
	c.sayCost(&p.cost, star)
}

// warnings are what an operator should know before signing, with names.
func (p *prospect) warnings(v *view) []string {
	out := []string{}
	for _, w := range p.preview.Warnings {
		out = append(out, rollout.Named(w, v.roster))
	}
	if len(p.away) > 0 {
		out = append(out, fmt.Sprintf("not within reach now: %s; a batch waits up to %s for a robot (--install-deadline)",
			strings.Join(short(p.away, 8), " "), span(time.Duration(p.plan.InstallDeadlineSeconds)*time.Second)))
	}
	if w := transferWarning(p.plan); w != "" {
		out = append(out, w)
	}
	return out
}

// away are the robots of a plan that this machine does not hear now.
func away(all *node.Nodes, p *rollout.Preview) []string {
	in := member.Set(nil)
	for _, st := range p.Stages {
		for _, i := range st.Robots.All() {
			in = in.With(i)
		}
	}
	var out []string
	for _, w := range all.Nodes {
		if in.Has(int(w.Index)) && w.State != "alive" && w.State != "suspect" {
			out = append(out, string(w.ID))
		}
	}
	return out
}

// short is the first n names, and how many more.
func short(names []string, n int) []string {
	if len(names) <= n {
		return names
	}
	return append(names[:n:n], fmt.Sprintf("and %d more", len(names)-n))
}

// errPlanArgs is the complaint about a start that names nothing, or two things.
var errPlanArgs = errors.New("want either a RELEASE and flags, or --plan FILE without flags of a plan")
