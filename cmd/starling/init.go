package main

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"crypto/ed25519"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// idRandom is how many random characters a swarm's id ends with, so that two swarms
// of one name stay apart.
const idRandom = 6

// initOptions are the flags of init.
type initOptions struct {
	operator string
	links    linkOptions
}

// initialized is what init made.
type initialized struct {
	Schema    string          `json:"schema"`
	Swarm     string          `json:"swarm"`
	TrustRoot manifest.Digest `json:"trust_root"`
	Dir       string          `json:"dir"`
	Operator  string          `json:"operator"`
	OwnerKey  string          `json:"owner_key"`
	OperKey   string          `json:"operator_key"`
	Config    string          `json:"config"`
}

func (c *cli) initCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Make a swarm: its keys, its root of trust and the operator's node",
		Long: `Make a swarm on this machine: an owner's key (says which software may run), an
operator's key (says who gets it, and how fast), both sealed under a passphrase,
the root of trust that they sign, and the state of the operator's node.

An existing directory is left alone.`,
		Example: `  starling init orchard
  starling init orchard --dir ./orchard --passphrase-file secret.txt
  starling init trial --dir ./trial --profile local`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return c.init(args[0], o) },
	}
	cmd.Flags().StringVar(&o.operator, "operator", "operator", "what the operator's node is called in the swarm")
	o.links.flags(cmd)
	return cmd
}

func (c *cli) init(name string, o initOptions) error {
	if !manifest.ValidName(name) || len(name) > member.MaxSwarmBytes-1-idRandom {
		return usageError(fmt.Sprintf("swarm name %q: want 1 to %d of a-z 0-9 . - _, starting with a letter or digit", name, member.MaxSwarmBytes-1-idRandom))
	}
	if !manifest.ValidName(o.operator) {
		return usageError(fmt.Sprintf("--operator %q: want 1 to 32 of a-z 0-9 . - _", o.operator))
	}
	text, err := o.links.yaml()
	if err != nil {
		return err
	}
	h, err := c.newHome(name)
	if err != nil {
		return err
	}
	p, err := c.newPassphrase()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.path(), 0o700); err != nil {
		return fmt.Errorf("make the swarm's directory: %w", err)
	}
	out, err := h.found(name, o.operator, p, text)
	if err != nil {
		return errors.Join(err, os.RemoveAll(h.path())) // it was not there before
	}
	return c.answer(out, func() { c.sayInit(h, out) })
}

func (c *cli) sayInit(h home, out *initialized) {
	c.say("swarm      %s", out.Swarm)
	c.say("directory  %s", out.Dir)
	c.say("trust root %s", out.TrustRoot)
	c.say("owner      %s  says which software may run: keep it offline, with a copy elsewhere", out.OwnerKey)
	c.say("operator   %s  says who gets it and how fast: keep it on this laptop, with a copy", out.OperKey)
	c.say("Both need the passphrase. Nobody can make them again.")
	c.next("starling agent%s", c.dirFlag(h))
}

// dirFlag is " --dir D" where a next step needs it.
func (c *cli) dirFlag(h home) string {
	if c.dir == "" {
		return ""
	}
	return " --dir " + string(h)
}

// newHome is where a new swarm will be; nothing is there yet.
func (c *cli) newHome(name string) (home, error) {
	h := home(c.dir)
	if h == "" {
		h = home(os.Getenv("STARLING_HOME"))
	}
	if h == "" {
		base, err := configDir()
		if err != nil {
			return "", err
		}
		h = home(filepath.Join(base, name))
	}
	abs, err := filepath.Abs(string(h))
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(abs); err == nil {
		return "", problem(api.Refused, "name another with --dir", "%s is there already, and might hold a swarm's keys", abs)
	}
	return home(abs), nil
}

// found makes everything that belongs to a new swarm.
func (h home) found(name, operator string, passphrase []byte, links string) (*initialized, error) {
	suffix, err := randomName(idRandom)
	if err != nil {
		return nil, err
	}
	out := &initialized{
		Schema: "starling.init/v1", Swarm: name + "." + suffix, Dir: h.path(), Operator: operator,
		OwnerKey: h.path("keys", "owner.key"), OperKey: h.path("keys", "operator.key"), Config: h.path(operatorFile),
	}
	owner, err := newKey(out.OwnerKey, trust.RoleOwner, passphrase)
	if err != nil {
		return nil, err
	}
	oper, err := newKey(out.OperKey, trust.RoleOperator, passphrase)
	if err != nil {
		return nil, err
	}
	signers := trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{oper}}
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(owner)}, 1, []envelope.Key{envelope.KeyOf(oper)}, signers, time.Now())
	if err != nil {
		return nil, err
	}
	out.TrustRoot = manifest.Sum(b.Roots[0])
	if err := node.Found(h.path("node"), out.Swarm, member.ID(operator), b, oper); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("# The operator's node of this swarm: starling agent\nswarm: %s\nname: %s\ndir: node\nbase: true\n%s", out.Swarm, operator, links)
	return out, durable.WriteFile(out.Config, []byte(text), 0o600)
}

// randomName is n random characters that a name may hold.
func randomName(n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("make a swarm's id: %w", err)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))[:n], nil
}

// linkOptions say how a node reaches others; init and join write them down.
type linkOptions struct {
	profile, listen, advertise string
}

func (o *linkOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.profile, "profile", "lan", "timers for the links, the same in the whole swarm: lan, mesh, narrow for radios below 1 Mbit/s, or local for many nodes on one machine")
	cmd.Flags().StringVar(&o.listen, "listen", "", "listen at this `HOST` with the usual ports, or at HOST:0 with free ones (local: 127.0.0.1:0)")
	cmd.Flags().StringVar(&o.advertise, "advertise", "", "the `HOST` that others reach this machine at, if it cannot find out")
}

// yaml is what the options are in a configuration file.
func (o *linkOptions) yaml() (string, error) {
	switch o.profile {
	case "lan", "mesh", "narrow":
	case "local":
		if o.listen == "" {
			o.listen = "127.0.0.1:0"
		}
	default:
		return "", usageError(fmt.Sprintf("--profile %q: want lan, mesh, narrow or local", o.profile))
	}
	var b strings.Builder
	if o.profile != "lan" {
		fmt.Fprintf(&b, "profile: %s\n", o.profile)
	}
	if o.listen != "" {
		host, ports := strings.Trim(o.listen, "[]"), [3]string{"7946", "7947", "7948"}
		if h, port, err := net.SplitHostPort(o.listen); err == nil {
			if port != "0" {
				return "", usageError(fmt.Sprintf("--listen %q: there are three ports; want HOST, or HOST:0 for free ones", o.listen))
			}
			host, ports = h, [3]string{"0", "0", "0"}
		}
		fmt.Fprintf(&b, "listen: {gossip: %q, bulk: %q, control: %q}\n", net.JoinHostPort(host, ports[0]), net.JoinHostPort(host, ports[1]), net.JoinHostPort(host, ports[2]))
		if ip := net.ParseIP(host); o.advertise == "" && ip != nil && !ip.IsUnspecified() {
			o.advertise = host
		}
	}
	if o.advertise != "" {
		fmt.Fprintf(&b, "advertise: %q\n", o.advertise)
	}
	return b.String(), nil
}
