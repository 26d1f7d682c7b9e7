package node

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/starling-swarm/starling/"

// The layers, from the top: a package may import those of lower layers, and of its
// own where sameLayer says so.
const (
	leaf = iota
	machine
	adapter
	composition
	simulator
	command
)

var layers = map[string]int{
	"artifacts/canonical": leaf, "artifacts/canonical/vector": leaf, "artifacts/durable": leaf, "artifacts/durable/durabletest": leaf, "artifacts/planted": leaf, "artifacts/sums": leaf, "artifacts/manifest": leaf, "artifacts/envelope": leaf,
	"artifacts/wire": leaf, "gossip/member": leaf, "consensus/order": leaf,
	"netsim/disk": leaf, "netsim/exact": leaf, "netsim/fabric": leaf, "netsim/scenario": leaf, "netsim/scenario/strict": leaf,
	"artifacts/schedule": machine, "artifacts/pace": machine, "artifacts/delta": machine, "consensus/rollout": machine, "node/update": machine,
	"artifacts": adapter, "artifacts/bundle": adapter, "artifacts/trust": adapter, "artifacts/store": adapter, "artifacts/store/storetest": adapter,
	"artifacts/p2p": adapter, "gossip": adapter, "consensus": adapter, "node/install": adapter, "node/install/recordfile": adapter,
	"node/install/installtest": adapter, "node/join": adapter, "node/halt": adapter, "node/config": adapter,
	"node": composition, "node/api": composition, "node/daemon": composition,
	"netsim":       simulator,
	"cmd/starling": command, "cmd/starlingd": command, "cmd/netsim": command,
}

// within says which packages of one layer may still import each other.
var within = map[string][]string{
	"artifacts/store/storetest": {"artifacts/store"},
	"node/install/installtest":  {"node/install"},
	"node/api":                  {"node"},
	"node/daemon":               {"node", "node/api"},
}

// owners are the only packages that may name a library, with a space between them.
var owners = map[string]string{
	"github.com/libp2p/":              "artifacts/p2p",
	"github.com/hashicorp/memberlist": "gossip",
	"github.com/hashicorp/raft":       "consensus",
	"github.com/theupdateframework/":  "artifacts/trust",
	"github.com/PlakarKorp/":          "artifacts/bundle",
	"github.com/spf13/cobra":          "cmd/starling cmd/netsim",
	"github.com/goccy/go-yaml":        "node/config netsim/scenario/strict",
	"github.com/secure-systems-lab/":  "artifacts/trust",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T, args ...string) []goPackage {
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	}
	require.NoError(t, err)
	var list []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else {
			require.NoError(t, err)
		}
		list = append(list, p)
	}
}

// TestImportsPointOneWay keeps DESIGN's arrows: cmd → netsim → node → adapters →
// machines → leaves, and adapters that do not know each other.
func TestImportsPointOneWay(t *testing.T) {
	list := packages(t, modulePath+"...")
	require.NotEmpty(t, list)
	for _, p := range list {
		name := strings.TrimPrefix(p.ImportPath, modulePath)
		layer, known := layers[name]
		require.True(t, known, "package %s stands in no layer: add it to the table, at the lowest layer that it can have", name)
		for _, i := range p.Imports {
			checkOwner(t, name, i)
			to, ours := strings.CutPrefix(i, modulePath)
			if !ours {
				continue
			}
			ok := layers[to] < layer || (layer <= machine && layers[to] == layer)
			for _, w := range within[name] {
				ok = ok || w == to
			}
			require.True(t, ok, "%s imports %s: arrows point from commands to leaves, and adapters do not know each other; declare an interface instead", name, to)
		}
	}
}

func checkOwner(t *testing.T, name, imported string) {
	require.NotEqual(t, "github.com/libp2p/go-libp2p", imported, "the root package links QUIC, WebRTC and fx")
	for lib, owner := range owners {
		if strings.HasPrefix(imported, lib) {
			require.Contains(t, strings.Fields(owner), name, "only %s may import %s", owner, imported)
		}
	}
}

// TestDaemonIsLean keeps out of the robot's daemon what a robot does not need.
func TestDaemonIsLean(t *testing.T) {
	for _, p := range packages(t, "-deps", modulePath+"cmd/starlingd") {
		for _, no := range []string{"quic-go", "pion/", "webtransport", "go.uber.org/fx", "spf13/cobra", "charm", "bubbletea", "starling-swarm/starling/netsim", "github.com/libp2p/go-libp2p\x00"} {
			require.NotContains(t, p.ImportPath+"\x00", no, "starlingd must not link it")
		}
	}
}
