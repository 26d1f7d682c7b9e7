package main

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/daemon"
)

func (c *cli) agentCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run this machine's node in the foreground, the operator's or a robot's",
		Long: `Run this machine's node until it is interrupted; then it says goodbye. With
operator.yaml it is the operator's node: it lets robots in, publishes and seeds,
and needs the passphrase of operator.key. With robot.yaml it is a robot; starlingd
does the same with less around it.

The operator's node may be switched off at any time: the swarm goes on.`,
		Example: `  starling agent
  starling agent --dir ./orchard --passphrase-file secret.txt
  starling agent --config robot.yaml`,
		Args:        cobra.NoArgs,
		Annotations: endless,
		RunE:        func(cmd *cobra.Command, _ []string) error { return c.agent(cmd.Context(), file) },
	}
	cmd.Flags().StringVar(&file, "config", "", "the configuration `file` (default operator.yaml or robot.yaml in the swarm's directory)")
	return cmd
}

func (c *cli) agent(ctx context.Context, file string) error {
	if file == "" {
		h, err := c.home()
		if err != nil {
			return err
		}
		if file, err = h.config(); err != nil {
			return err
		}
	}
	file, err := filepath.Abs(file) // what it names goes to other processes
	if err != nil {
		return err
	}
	cfg, err := config.Load(file, os.Environ())
	if err != nil {
		return err
	}
	var key ed25519.PrivateKey
	if filepath.Base(file) == operatorFile {
		if key, err = c.openKey(home(filepath.Dir(file)), "operator"); err != nil {
			return err
		}
	}
	return c.runNode(ctx, cfg, daemon.Options{OperatorKey: key, Env: os.Environ()})
}

// runNode runs a node and its API until ctx ends, and logs as the configuration
// says.
func (c *cli) runNode(ctx context.Context, cfg *config.Config, o daemon.Options) error {
	log, err := daemon.Logger(cfg.Log, c.err)
	if err != nil {
		return err
	}
	return daemon.Run(ctx, cfg, log, o)
}
