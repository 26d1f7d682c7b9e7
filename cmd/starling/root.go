package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/node/api"
)

// callTime bounds commands that ask and answer, if --timeout says nothing else.
const callTime = 90 * time.Second

// A cli is one command line being run: its streams and global flags.
type cli struct {
	in       io.Reader
	out, err io.Writer

	dir, addr  string
	json       bool
	quiet      bool
	verbose    bool
	noColor    bool
	yes        bool
	timeout    time.Duration
	passphrase string // file that holds it

	began  bool   // the arguments were understood and a command runs
	secret []byte // the passphrase, once somebody gave it
	cancel func() // ends the command's time
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	c := &cli{in: in, out: out, err: errOut, cancel: func() {}}
	defer func() { c.cancel() }()
	root := c.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err != nil && !c.began {
		err = misused(err, root, args)
		c.json = c.json || slices.Contains(args, "--json") // the flags may not have been read
	}
	return c.end(err)
}

// root is the whole command tree.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "starling",
		Short: "Ship software to a swarm of robots that has no server",
		Long: `Starling ships software to a swarm of robots that has no server. One laptop signs
a release. The swarm agrees on it, tries it on a few robots, watches them, and
carries it to the rest, or takes it back.

The way in:
  starling init NAME        make a swarm on this laptop
  starling agent            run its node
  starling invite           write an invite, carry it to a robot
  starling join FILE        on the robot
  starling ship PATH --version 1.0`,
		Example: `  starling status
  starling ship ./build --version 1.5.0
  starling rollout explain`,
		SilenceErrors: true, SilenceUsage: true,
		RunE:              helpOrUnknown,
		PersistentPreRunE: c.before,
	}
	f := root.PersistentFlags()
	f.StringVar(&c.dir, "dir", "", "the swarm's `directory` (default $STARLING_HOME, or the only one in the user's configuration)")
	f.StringVar(&c.addr, "addr", "", "the agent's socket, unix:PATH (default node/api.sock in the directory)")
	f.BoolVar(&c.json, "json", false, "print JSON, errors too; its schema is stable")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "print no hints and no progress")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "print progress also where there is no terminal")
	f.DurationVar(&c.timeout, "timeout", 0, "give up after this `time` (default 90s; waiting and watching: never)")
	f.BoolVarP(&c.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&c.noColor, "no-color", false, "no colours, also with NO_COLOR or without a terminal")
	f.StringVar(&c.passphrase, "passphrase-file", "", "`file` with the passphrase of the keys (default $STARLING_PASSPHRASE, or ask)")
	root.AddCommand(
		c.initCommand(), c.agentCommand(), c.inviteCommand(), c.joinCommand(), c.beginCommand(),
		c.statusCommand(), c.nodeCommand(), c.gateCommand(), c.conditionCommand(),
		c.releaseCommand(), c.storeCommand(), c.reportCommand(), c.shipCommand(), c.rolloutCommand(), newDemoCommand(),
		c.watchCommand(), c.rollbackCommand(), c.haltCommand(),
		c.versionCommand(), exitCodesCommand(),
	)
	root.SetHelpCommand(helpCommand(root))
	return root
}

// before runs when the arguments are understood, before any command.
func (c *cli) before(cmd *cobra.Command, _ []string) error {
	if c.timeout < 0 {
		return fmt.Errorf("--timeout %s: want a time above zero", c.timeout)
	}
	c.began = true
	limit := c.timeout
	if limit == 0 && cmd.Annotations["endless"] == "" {
		limit = callTime
	}
	if limit > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), limit)
		c.cancel = cancel
		cmd.SetContext(ctx)
	}
	return nil
}

// endless marks commands that wait for as long as it takes.
var endless = map[string]string{"endless": "yes"}

// helpOrUnknown is what a command that only groups others does.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	next := cmd.CommandPath() + " --help"
	if s := cmd.SuggestionsFor(name); len(s) > 0 {
		next = cmd.CommandPath() + " " + s[0]
	}
	return &api.Problem{Schema: api.ProblemSchema, Code: api.Usage, Reason: fmt.Sprintf("no command %q in %s", name, cmd.CommandPath()), Next: next}
}

// misused makes a usage error of what cobra says about arguments.
func misused(err error, root *cobra.Command, args []string) error {
	cmd, _, findErr := root.Find(args)
	if findErr != nil {
		cmd = root
	}
	text := err.Error()
	if i := strings.IndexByte(text, '\n'); i >= 0 { // cobra's own suggestions
		text = text[:i]
	}
	return &api.Problem{Schema: api.ProblemSchema, Code: api.Usage, Reason: text, Next: cmd.CommandPath() + " --help"}
}

// group is a command that only groups others.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: helpOrUnknown, Args: cobra.ArbitraryArgs}
	var examples []string
	for _, s := range sub {
		if first, _, _ := strings.Cut(s.Example, "\n"); first != "" && len(examples) < 3 {
			examples = append(examples, first)
		}
	}
	g.Example = strings.Join(examples, "\n")
	g.AddCommand(sub...)
	return g
}
