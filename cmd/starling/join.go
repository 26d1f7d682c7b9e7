package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
	"github.com/starling-swarm/starling/node/daemon"
	"github.com/starling-swarm/starling/node/join"
)

// joinOptions are the flags of join.
type joinOptions struct {
	name         string
	run          bool
	links        linkOptions
	profileGiven bool // by flag; else it is the invite's
}

// joined is what join did.
type joined struct {
	Schema string `json:"schema"`
	Swarm  string `json:"swarm"`
	Node   string `json:"node"`
	Index  uint16 `json:"index"`
	Dir    string `json:"dir"`
	Config string `json:"config"`
}

func (c *cli) joinCommand() *cobra.Command {
	var o joinOptions
	cmd := &cobra.Command{
		Use:   "join FILE",
		Short: "Join a swarm with an invite, on the robot",
		Long: `Make this machine a member of the swarm that the invite FILE is for. The
configuration is written to robot.yaml in the directory, four lines that you may
extend by probes, a gate and more; one that is there already is used as it is.

It waits until the operator's node answers: that must be on, and the swarm need
not. Once is enough: afterwards the robot finds the others by itself. With --run the
node goes on running.`,
		Example: `  starling join invite.json
  starling join invite.json --dir /var/lib/starling --name r07 --run
  starling join invite.json --dir ./r01 --name r01 --profile local`,
		Args:        cobra.ExactArgs(1),
		Annotations: endless,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.profileGiven = cmd.Flags().Changed("profile")
			return c.join(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "", "what the robot is called in the swarm (default the host's name)")
	cmd.Flags().BoolVar(&o.run, "run", false, "go on running the node")
	o.links.flags(cmd)
	cmd.Flags().Lookup("profile").Usage += " (default what the invite names)"
	return cmd
}

func (c *cli) join(ctx context.Context, file string, o joinOptions) error {
	if o.name != "" && !manifest.ValidName(o.name) {
		return usageError(fmt.Sprintf("--name %q: want 1 to 32 of a-z 0-9 . - _", o.name))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the invite: %w", err)
	}
	i, err := join.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if i.Profile != "" && !o.profileGiven {
		o.links.profile = i.Profile
	}
	h, err := c.robotHome(i.Swarm)
	if err != nil {
		return err
	}
	if err := h.writeRobot(i.Swarm, file, o); err != nil {
		return err
	}
	cfg, err := config.Load(h.path(robotFile), os.Environ())
	if err != nil {
		return err
	}
	if i.Profile != "" && cfg.Profile != i.Profile {
		c.note("warning: the swarm has profile %s and this robot %s: with other timers it is taken for lost, or takes others for it; set profile: %[1]s in %[3]s", i.Profile, cfg.Profile, h.path(robotFile))
	}
	if o.run {
		return c.runNode(ctx, cfg, daemon.Options{Env: os.Environ()})
	}
	c.note("asks %v to join swarm %s", i.Addrs, i.Swarm)
	out, err := c.joinOnce(ctx, cfg, i)
	if err != nil {
		return err
	}
	out.Dir, out.Config = h.path(), h.path(robotFile)
	return c.answer(out, func() {
		c.say("%s is member %d of swarm %s", out.Node, out.Index, out.Swarm)
		c.say("configuration  %s", out.Config)
		c.next("starling agent --config %s", out.Config)
	})
}

// robotHome is where a robot's files go.
func (c *cli) robotHome(swarm string) (home, error) {
	dir := c.dir
	if dir == "" {
		dir = os.Getenv("STARLING_HOME")
	}
	if dir == "" {
		base, err := configDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, swarm)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	h := home(abs)
	if _, err := os.Stat(h.path(operatorFile)); err == nil {
		return "", problem(api.Refused, "name another with --dir", "%s is an operator's directory", abs)
	}
	return h, nil
}

// localComponent makes tries on one machine quick; a robot's defaults are patient.
const localComponent = `components:
  app: {min_healthy: 1s, healthy_deadline: 30s, grace: 1s}
`

// writeRobot writes robot.yaml, unless there is one.
func (h home) writeRobot(swarm, invite string, o joinOptions) error {
	if _, err := os.Stat(h.path(robotFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	links, err := o.links.yaml()
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(invite)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("swarm: %s\ndir: node\njoin: %q\n", swarm, abs)
	if o.name != "" {
		text += "name: " + o.name + "\n"
	}
	text += links
	if o.links.profile == "local" {
		text += localComponent
	}
	if err := os.MkdirAll(h.path(), 0o700); err != nil {
		return fmt.Errorf("make the robot's directory: %w", err)
	}
	return durable.WriteFile(h.path(robotFile), []byte(text), 0o600)
}

// joinOnce runs the node without its payload until it takes part.
func (c *cli) joinOnce(ctx context.Context, cfg *config.Config, i *join.Invite) (*joined, error) {
	bare := *cfg
	bare.Base = true
	log := newJoinLog(c.note)
	inner, stop := context.WithCancel(ctx)
	defer stop()
	in := make(chan *joined, 1) // sent at most once, before inner is stopped
	var robot *node.Node
	err := daemon.Run(inner, &bare, slog.New(log), daemon.Options{Started: func(n *node.Node) {
		robot = n
		go func() { // ends with the node
			select {
			case <-n.Ready():
				v := n.View()
				in <- &joined{Schema: "starling.join/v1", Swarm: v.Swarm, Node: string(v.ID), Index: uint16(v.Self)}
				log.hush()
				stop()
			case <-inner.Done():
			}
		}()
	}})
	if err != nil {
		return nil, err
	}
	select {
	case out := <-in:
		return out, nil
	default:
		return nil, notJoined(ctx, robot.Status(), log.cause(), i)
	}
}

// notJoined says why a robot that gave up waiting has not joined.
func notJoined(ctx context.Context, s *node.Status, cause string, i *join.Invite) error {
	if wait := join.Wait.Text(); strings.Contains(s.Text, wait) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return problem(api.NoQuorum, "switch on a voter that is off (starling status on the operator's laptop names them), and run this again: the invite still counts for this robot",
			"has not joined swarm %s yet: %s", i.Swarm, wait)
	}
	if cause == "" {
		cause = "no answer yet"
	}
	return problem(api.ProblemOf(ctx.Err()).Code,
		"on the operator's laptop: starling agent; see that this machine reaches it, and run this again: the invite counts until "+i.Expires.Local().Format("2006-01-02 15:04"),
		"has not joined swarm %s: %s (asked %s)", i.Swarm, cause, strings.Join(i.Addrs, ", "))
}
