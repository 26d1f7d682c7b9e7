package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/netsim"
)

// rehearseOptions are the flags of rehearse.
type rehearseOptions struct {
	plan, release, swarm, out, html string
	seed                            uint64
	runs, parallel                  int
	asJSON, verbose                 bool
	keys                            keyring
}

func rehearseCommand() *cobra.Command {
	o := &rehearseOptions{}
	cmd := &cobra.Command{
		Use:   "rehearse --plan FILE --release FILE --swarm FILE",
		Short: "Run an operator's plan on a model of their swarm, and sign what came of it",
		Long: `Run the very plan that starling rollout plan -o has signed, for the very release, on a
scenario that models your swarm: its robots and models, radios and places, and what
usually goes wrong there. Its releases stand for what runs now and for the new one;
image sizes come from the release.

If all runs go well, -o writes a report signed with the operator's key. It opens the
sim stage of a rollout of this release: starling report submit FILE. A rehearsal
judges the plan and the network, not the release's own code: for that, run your own
simulator, and starling report sign.`,
		Example: `  starling rollout plan 1.5.0 --sim -o nav.plan
  netsim rehearse --plan nav.plan --release nav-1.5.0.star --swarm orchard.yaml -o sim.report
  starling rollout start --plan nav.plan
  starling report submit sim.report`,
		Args: exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.plan, "plan", "", "the signed plan, a `file`")
	f.StringVar(&o.release, "release", "", "the signed release, a .star `file`")
	f.StringVar(&o.swarm, "swarm", "", "a model of the swarm: a scenario's `file`, or one of the library")
	f.StringVarP(&o.out, "out", "o", "", "if all goes well, sign a report and write it to this `file`, and all runs to FILE.json")
	f.StringVar(&o.html, "html", "", "write a report for a browser to this `file`")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first run (default the scenario's)")
	f.IntVar(&o.runs, "runs", 20, "so many runs, with this seed and those after it")
	f.IntVar(&o.parallel, "parallel", 0, "so many at once (default one for each core)")
	f.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show everything that happens, of a single run")
	f.StringVar(&o.keys.file, "key", "", "the operator's key, a `file` (default that of --dir)")
	f.StringVar(&o.keys.home, "dir", "", "the swarm's `directory` (default $STARLING_HOME, or your only one)")
	f.StringVar(&o.keys.passphrase, "passphrase-file", "", "read the key's passphrase from this `file` (default $STARLING_PASSPHRASE, or ask)")
	return cmd
}

func (o *rehearseOptions) run(cmd *cobra.Command) error {
	if o.plan == "" || o.release == "" || o.swarm == "" || o.runs < 1 {
		return usagef("want --plan FILE, --release FILE and --swarm FILE, and 1 or more --runs")
	}
	sub, err := netsim.OpenSubject(o.plan, o.release)
	if err != nil {
		return refused(err)
	}
	var key ed25519.PrivateKey
	if o.out != "" { // before hours of simulation, not after
		if key, err = o.signer(sub); err != nil {
			return err
		}
	}
	s, err := open(o.swarm)
	if err != nil {
		return err
	}
	c, err := netsim.Rehearsal(s.Scenario, sub.Plan, sub.Release)
	if err != nil {
		return refused(err)
	}
	if err := writable(o.out, o.html); err != nil {
		return err
	}
	if o.seed, err = startSeed(cmd, o.seed, c.Seed); err != nil {
		return err
	}
	e, err := makeEngine(cmd.Context(), o.parallel)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr(), o.runs, o.verbose, o.asJSON)
	reports, err := e.series(cmd.Context(), s.with(c), runOptions{seed: o.seed, plan: sub.Sealed}, o.runs, p, o.again())
	if err != nil {
		return err
	}
	if o.html != "" {
		if err := writeHTML(o.html, s.with(c), reports); err != nil {
			return err
		}
	}
	broken := o.show(cmd.OutOrStdout(), sub, reports)
	if broken != nil || o.out == "" {
		return broken
	}
	return o.sign(cmd, sub, key, netsim.NewSeries(reports))
}

// refused makes a mistake on the command line of what cannot be rehearsed.
func refused(err error) error {
	if errors.Is(err, netsim.ErrRehearsal) || errors.Is(err, fs.ErrNotExist) {
		return usage{err}
	}
	return err
}

// again is the command that rehearses one seed again, without the seed.
func (o *rehearseOptions) again() string {
	return fmt.Sprintf("netsim rehearse --plan %s --release %s --swarm %s --runs 1", quote(o.plan), quote(o.release), quote(o.swarm))
}

func (o *rehearseOptions) show(out io.Writer, sub *netsim.Subject, reports []*netsim.Report) error {
	if !o.asJSON {
		fmt.Fprintf(out, "rehearsal of %s %s → %s, plan %s: %s\n", sub.Plan.Component, orNone(sub.Plan.From.Version), sub.Release.Version,
			sub.Name(), netsim.RehearsalJudges)
	}
	return show(out, reports, o.asJSON)
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// signer opens the operator's key, and makes sure that it may sign reports.
func (o *rehearseOptions) signer(sub *netsim.Subject) (ed25519.PrivateKey, error) {
	key, err := o.keys.open()
	if err != nil {
		return nil, err
	}
	if !sub.MaySign(key) {
		return nil, usagef("this operator's key may not sign reports for %s: its trust root gives that role to others", sub.Release.Version)
	}
	return key, nil
}

// sign writes a report that opens the plan's sim stage, and all runs beside it.
func (o *rehearseOptions) sign(cmd *cobra.Command, sub *netsim.Subject, key ed25519.PrivateKey, s *netsim.Series) error {
	report, details, err := sub.Sign(s, key)
	if err != nil {
		return err
	}
	if err := writeFile(o.out+".json", details); err != nil {
		return err
	}
	if err := writeFile(o.out, report); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s opens the sim stage of a rollout of %s (%s); all runs are in %s.json\nnext: starling report submit %s\n",
		o.out, sub.Release.Version, sub.Release.Digest().Short(), o.out, quote(o.out))
	return err
}
