package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
)

// goodbyeTime is how long saying goodbye may take: whoever switches a robot off
// does not wait longer.
const goodbyeTime = 2 * time.Second

// Options are what a configuration file does not hold; the zero value is good.
type Options struct {
	// OperatorKey makes this an operator's node; see node.Config.
	OperatorKey ed25519.PrivateKey
	// FailPoint is for tests; see node.Config.
	FailPoint func(step string)
	// Env is os.Environ's, for what systemd says; nil is none.
	Env []string
	// Started is called when the node is open and the API listens, before the node
	// has joined; nil is nobody.
	Started func(n *node.Node)
}

// Run opens a node and its API and runs both until ctx ends; then the node says
// goodbye, for two seconds at most. It returns nil if ctx ended it. The payload
// goes on. Errors are those of Config, node.New, api.Listen and Node.Run.
func Run(ctx context.Context, c *config.Config, log *slog.Logger, opts Options) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg, err := Config(c, log)
	if err != nil {
		return err
	}
	cfg.OperatorKey, cfg.FailPoint = opts.OperatorKey, opts.FailPoint
	n, err := node.New(cfg)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, n, c, log, opts), n.Close())
}

// serve runs the node, the API and the word to systemd. They end after the goodbye.
func serve(ctx context.Context, n *node.Node, c *config.Config, log *slog.Logger, opts Options) error {
	l, err := api.Listen(ctx, c.API)
	if err != nil {
		return err
	}
	systemd, err := newNotifier(opts.Env)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx for the goodbye
	defer stop()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error { return n.Run(inner) })
	g.Go(func() error { return api.New(n, api.Options{Log: log}).Serve(inner, l) })
	g.Go(func() error { return systemd.run(inner, n, log) })
	g.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
			goodbye(n, systemd, log)
		case <-inner.Done():
		}
		return nil
	})
	log.Info("listening", "api", c.API)
	if opts.Started != nil {
		opts.Started(n)
	}
	return errors.Join(g.Wait(), systemd.close())
}

// goodbye says that this node is being switched off. Nobody is waited for longer
// than goodbyeTime, and it is no error if nobody heard it.
func goodbye(n *node.Node, systemd *notifier, log *slog.Logger) {
	systemd.say(log, "STOPPING=1\nSTATUS=says goodbye")
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime) // the caller's context is over
	defer cancel()
	if err := n.Leave(ctx); err != nil {
		log.Warn("goodbye not heard by everybody", "err", err)
	}
}

// Check reads everything that Run would read before it opens anything, so that a
// configuration can be tried without touching what runs. It returns what a person
// should know though it is no fault.
func Check(c *config.Config) (notes []string, err error) {
	i, err := Invite(c)
	if err != nil {
		return nil, err
	}
	swarm, joined := node.SwarmOf(c.Dir)
	switch {
	case joined == nil:
		notes = append(notes, fmt.Sprintf("%s belongs to swarm %s", c.Dir, swarm))
	case i != nil:
		notes = append(notes, fmt.Sprintf("would join swarm %s by invite %s, which expires %s", i.Swarm, i.ID, i.Expires.Format(time.RFC3339)))
	default:
		return nil, joined
	}
	return notes, nil
}
