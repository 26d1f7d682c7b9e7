package node_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/join"
)

// A robot's program embeds a node: it says where the slots are and how to tell
// whether the payload is well, and the node does the rest.
func ExampleNode() {
	invite, dir, end := exampleSwarm() // an operator's node, and an invite from it
	defer end()

	slots, err := install.NewDirSlot(install.DirSlotConfig{Root: filepath.Join(dir, "slots"), Component: "nav"})
	if err != nil {
		log.Fatal(err)
	}
	n, err := node.New(node.Config{
		Dir: filepath.Join(dir, "arm-07"), Name: "arm-07", Invite: invite, Profile: "local",
		Gossip: "127.0.0.1:0", Bulk: "127.0.0.1:0", Control: "127.0.0.1:0",
		Components: []node.Component{{
			Name: "nav", Installer: slots,
			Watches: []install.Watch{{Name: "heartbeat", Prober: install.FileProbe{Path: "/run/nav/heartbeat", MaxAge: 5 * time.Second}}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()

	<-n.Ready()
	fmt.Println(n.View().ID, "is in swarm", n.View().Swarm)
	stop()
	fmt.Println("ended:", <-done)
	// Output:
	// arm-07 is in swarm orchard
	// ended: <nil>
}

// exampleSwarm founds a swarm with an operator's node and writes an invite for it.
func exampleSwarm() (*join.Invite, string, func()) {
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "starling-example-")
	must(err)
	_, owner, err := ed25519.GenerateKey(nil)
	must(err)
	_, operator, err := ed25519.GenerateKey(nil)
	must(err)
	b, err := trust.Init([]envelope.Key{envelope.KeyOf(owner)}, 1, []envelope.Key{envelope.KeyOf(operator)},
		trust.Signers{Owner: []ed25519.PrivateKey{owner}, Operator: []ed25519.PrivateKey{operator}}, time.Now())
	must(err)
	home := filepath.Join(dir, "operator")
	must(node.Found(home, "orchard", "laptop", b, operator))
	n, err := node.New(node.Config{
		Dir: home, OperatorKey: operator, Profile: "local", Gossip: "127.0.0.1:0", Bulk: "127.0.0.1:0", Control: "127.0.0.1:0",
	})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	<-n.Ready()
	invite, err := n.Invite(ctx, node.InviteRequest{Uses: 1})
	must(err)
	return invite, dir, func() {
		stop()
		must(<-done)
		must(n.Close())
		must(os.RemoveAll(dir))
	}
}
