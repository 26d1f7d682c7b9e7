package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/gossip/member"
)

var (
	// ErrLocked is returned when another process runs a node in the same
	// directory: stop it, or use another directory.
	ErrLocked = errors.New("node: another process runs a node in this directory")
	// ErrNotJoined is returned when a directory belongs to no swarm yet: join one
	// with "starling join FILE", or name an invite in the configuration.
	ErrNotJoined = errors.New("node: this directory belongs to no swarm yet; join one with: starling join FILE")
)

// dir is a node's state directory. The files in it, each written whole:
//
//	lock        held while a node runs here
//	key         the robot's private key; its public half is its identity
//	membership  which swarm this is and who we are in it
//	trust, roster, genesis, orders   what was verified last
//	trust-base  what the swarm went by when trust was signed or heard before it was decided
//	halt        the newest halt token
//	boots       how often a node was started here
//	peers       where members were last heard, ports: where we listened
//	docs/       plans, releases, manifests, by whom releases were built, by digest
//	raft/       a voter's log
//	slots/, state/<component>/   images, the updater's record, the pack used last
//	images/     what is served from beside the slots: imported images, and packs
//	history     audit: one JSON line per event, appended
//	reserve     space for some of these when the disk is full
type dir string

func (d dir) path(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// lock makes the directory and holds it for this process.
func (d dir) lock() (*flock.Flock, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	l := flock.New(d.path("lock"))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	if !ok {
		return nil, fmt.Errorf("%w (%s)", ErrLocked, d)
	}
	return l, nil
}

// key reads the robot's key, or makes it at the first start.
func (d dir) key() (ed25519.PrivateKey, error) {
	data, err := os.ReadFile(d.path("key"))
	if err == nil {
		key, _, err := trust.OpenKey(data, nil)
		if err != nil {
			return nil, fmt.Errorf("read the robot's key %s: %w; restore it from a copy, or delete it and join again with a new invite", d.path("key"), err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the robot's key: %w", err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the robot's key: %w", err)
	}
	return key, d.saveKey(key)
}

func (d dir) saveKey(key ed25519.PrivateKey) error {
	data, err := trust.SealKey(key, "robot", nil)
	if err != nil {
		return fmt.Errorf("make the robot's key: %w", err)
	}
	return durable.WriteFile(d.path("key"), data, 0o600)
}

// membership is what joining taught.
type membership struct {
	Format   uint            `json:"format"`
	Swarm    string          `json:"swarm"`
	Root     manifest.Digest `json:"trust_root"`
	Index    member.Index    `json:"index"`
	ID       member.ID       `json:"id"`
	Operator envelope.Key    `json:"operator"` // who let us in: the first to ask
	Addrs    []string        `json:"operator_addresses"`
	// GossipKeys are newest first; the first has number GossipKey.
	GossipKeys [][]byte `json:"gossip_keys"`
	GossipKey  uint32   `json:"gossip_key"`
}

// load reads a JSON file that this package wrote; ok is false if there is none.
func load[T any](path string) (v T, ok bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("read %s: %w", path, err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, false, fmt.Errorf("read %s: %w", path, err)
	}
	return v, true, nil
}

func save(path string, v any) error { return saveBy(durable.WriteFile, path, v) }

// saveVital is save for what must be written on a full disk too.
func saveVital(path string, v any) error { return saveBy(durable.WriteVital, path, v) }

func saveBy(write func(string, []byte, fs.FileMode) error, path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return write(path, append(data, '\n'), 0o600)
}

func (d dir) membership() (membership, error) {
	m, ok, err := load[membership](d.path("membership"))
	switch {
	case err != nil:
		return m, err
	case !ok:
		return m, fmt.Errorf("%w (%s)", ErrNotJoined, d)
	case m.Format > 1:
		return m, fmt.Errorf("read %s: %w; update starling", d.path("membership"), canonical.ErrFuture)
	}
	return m, nil
}

// boot numbers a start. The number goes into the upper half of the sequence of
// health reports, so that it rises over reboots without a write per report. It is
// the time in seconds, or one more than the last where the clock has gone back; also
// on an error it is the best that can be said.
func (d dir) boot(now time.Time) (uint64, error) {
	last, _, err := load[uint64](d.path("boots"))
	n := max(last+1, uint64(max(now.Unix(), 0)))
	return n, errors.Join(err, save(d.path("boots"), n))
}

// optional reads a file that may not be there.
func optional(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// clearFile removes a file if it is there.
func clearFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
