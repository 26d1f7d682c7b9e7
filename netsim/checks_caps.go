package netsim

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/starling-swarm/starling/consensus"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/gossip"
	"github.com/starling-swarm/starling/node"
)

// The bounds of DESIGN.md §5 and §7 that the packages do not name themselves.
const (
	maxRosterBytes  = 256 << 10
	maxGenesisBytes = 8 << 10
	maxReportBytes  = 512
)

// A size is how large something is, and may be.
type size struct {
	what      string
	got, most int
}

// beyond are those sizes that are above their bounds.
func beyond(who string, sizes []size) (list []complaint) {
	for _, s := range sizes {
		if s.got > s.most {
			list = append(list, complain("within-caps", "%s: %s is %d bytes long, %d is the most", who, s.what, s.got, s.most))
		}
	}
	return list
}

// sizesOf are those of what a node has verified.
func sizesOf(v *node.View) []size {
	genesis, chain, newest := v.Proof()
	list := []size{{"the genesis", len(genesis), maxGenesisBytes}, {"the roster", v.RosterBytes(), maxRosterBytes}}
	for _, p := range append(chain[:len(chain):len(chain)], newest) {
		if p.Order != nil {
			list = append(list, size{"order " + p.Order.Pointer().String(), len(p.Order.Encode()), order.MaxBytes})
		}
		if p.Certificate != nil {
			list = append(list, size{"the certificate of " + p.Order.Pointer().String(), len(p.Certificate.Encode()), order.MaxCertificateBytes})
		}
	}
	return list
}

// heard are those of the longest health report and gossip metadata that a node has.
func heard(report, meta int) []size {
	return []size{{"a health report", report, maxReportBytes}, {"the gossip metadata", meta, gossip.MaxMetaBytes}}
}

// snapshots are those of raft's snapshots below a machine's directory.
func snapshots(dir string) (list []size, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "state.bin") {
			if os.IsNotExist(err) {
				return nil // it went while we looked
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			list = append(list, size{"a snapshot", int(info.Size()), consensus.MaxSnapshotBytes})
		}
		return nil
	})
	return list, err
}
