package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/pace"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/install/recordfile"
	"github.com/starling-swarm/starling/node/update"
)

// nowhere is a network without anybody on it.
type nowhere struct{ OSNetwork }

func (nowhere) Dial(context.Context, string, pace.Class) (net.Conn, error) {
	return nil, os.ErrDeadlineExceeded
}

// loneRobot has joined, and then power was lost before it heard anything of the
// swarm: it knows no roster and no key of the gossip. Its slots hold a payload each.
type loneRobot struct {
	t    *testing.T
	cfg  Config
	disk *recordfile.File
	rec  update.Record
	node *Node
}

func newLoneRobot(t *testing.T) *loneRobot {
	dir := t.TempDir()
	cfg := loopback(dir)
	cfg.Network = nowhere{}
	if l := testLog(t); l != nil {
		cfg.Log = l
	}
	require.NoError(t, halt.Create(filepath.Join(dir, "halt"), "orchard-3"))
	require.NoError(t, save(filepath.Join(dir, "membership"), membership{
		Format: 1, Swarm: "orchard-3", Root: manifest.Sum([]byte("root")), Index: 3, ID: "r03",
		Operator: envelope.KeyOf(newKey(t)), Addrs: []string{"192.0.2.1:7947"},
	}))
	d, err := install.NewDirSlot(install.DirSlotConfig{Root: filepath.Join(dir, "slots"), Component: "app", Grace: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Stop(context.Background())) })
	cfg.Components = []Component{{Installer: d}}
	r := &loneRobot{t: t, cfg: cfg}
	r.rec = update.Baseline("app", update.A, r.content(d, update.A, "1.0.0", "exec sleep 600"))
	require.NoError(t, d.Switch(update.A))
	require.NoError(t, d.Commit(context.Background(), install.Payload{Slot: update.A}))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "state", "app"), 0o700))
	r.disk = recordfile.New(filepath.Join(dir, "state", "app", "record"), "app")
	return r
}

// content puts a payload into a slot that says in a file which one it is, and goes on
// with then.
func (r *loneRobot) content(d *install.DirSlot, s update.Slot, version, then string) update.SlotRecord {
	script := "#!/bin/sh\necho " + version + " >> \"$STARLING_DATA/ran\"\n" + then + "\n"
	require.NoError(r.t, os.WriteFile(filepath.Join(d.SlotDir(s), "run"), []byte(script), 0o755))
	return update.SlotRecord{
		Release: manifest.Ref{Version: version, Counter: uint64(s) + 1, Digest: manifest.Sum([]byte(version))}, Variant: "all",
		Manifest: manifest.Sum([]byte("m" + version)), State: update.Whole, Run: []string{"run"}, Driver: "dirslot",
	}
}

// start runs the node until the test ends.
func (r *loneRobot) start() {
	require.NoError(r.t, r.disk.Save(r.rec))
	n, err := New(r.cfg)
	require.NoError(r.t, err)
	r.node = n
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r.t.Cleanup(func() {
		stop()
		require.NoError(r.t, <-done)
		require.NoError(r.t, n.Close())
	})
}

// until looks at the component until cond holds.
func (r *loneRobot) until(what string, cond func(standing) bool) {
	r.t.Helper()
	end := time.After(2 * time.Minute)
	for !cond(r.node.robots[0].status()) {
		select {
		case <-r.node.Changed():
		case <-time.After(20 * time.Millisecond): // not every step of the machine wakes people
		case <-end:
			require.Fail(r.t, "timed out waiting for: "+what, "%s", r.node.robots[0].status().Status)
		}
	}
}

func (r *loneRobot) ran() string {
	data, err := os.ReadFile(filepath.Join(r.cfg.Dir, "slots", "app", "data", "ran"))
	require.NoError(r.t, err)
	return string(data)
}

// A robot that reaches nobody runs what it has committed.
func TestAloneTheCommittedSlotRuns(t *testing.T) {
	t.Parallel()
	r := newLoneRobot(t)
	r.start()
	r.until("the payload", func(s standing) bool { return s.Healthy > 0 })
	require.Equal(t, "1.0.0\n", r.ran())
	require.False(t, r.node.taking(), "it knows no roster")
}

// onTrial is a robot that lost power while 1.1.0 was on trial.
func (r *loneRobot) onTrial(then string) update.SlotRecord {
	d := r.cfg.Components[0].Installer.(*install.DirSlot)
	b := r.content(d, update.B, "1.1.0", then)
	r.rec.Slots[update.B], r.rec.Current, r.rec.Into, r.rec.Target = b, update.B, update.B, b.Release
	r.rec.Phase, r.rec.Rollout, r.rec.Attempts, r.rec.TrialLeft = member.Trial, 7, 2, 60
	r.rec.MinHealthy, r.rec.HealthyDeadline, r.rec.Result = 60, 60, member.Unknown
	require.NoError(r.t, d.Switch(update.B))
	return b
}

// A trial that power interrupted, and whose deadline is over, ends where it began,
// though nobody is there who could say so.
func TestAloneATrialThatIsOverGoesBack(t *testing.T) {
	t.Parallel()
	r := newLoneRobot(t)
	b := r.onTrial("exec sleep 600")
	r.rec.TrialLeft = 1
	r.start()
	r.until("back on 1.0.0", func(s standing) bool {
		return s.Phase == member.Reverted && s.Running.Version == "1.0.0" && s.Healthy > 0
	})
	require.Contains(t, r.node.robots[0].status().Reason, "not healthy for")
	require.Regexp(t, `^(1\.1\.0\n)?1\.0\.0\n$`, r.ran(), "a busy machine may not get to 1.1.0 in the second that it has")
	link, err := os.Readlink(filepath.Join(r.cfg.Dir, "slots", "app", "current"))
	require.NoError(t, err)
	require.Equal(t, "a", link)
	require.False(t, r.node.taking())
	rec, err := r.disk.Load()
	require.NoError(t, err)
	require.Equal(t, []update.Failure{{Release: b.Release.Digest, Rollout: 7}}, rec.Failed, "its rollout does not bring it again")
}

// What a payload said last is in the robot's report, with as much as that has room
// for, and all of it where its owner looks.
func TestTheLastWordsOfAPayloadAreReported(t *testing.T) {
	t.Parallel()
	r := newLoneRobot(t)
	r.onTrial("echo starting; echo 'no such camera: /dev/video0' >&2; exit 3")
	r.start()
	r.until("back on 1.0.0", func(s standing) bool { return s.Phase == member.Reverted && s.Running.Version == "1.0.0" })
	h := r.node.robots[0].health()
	require.Equal(t, "payload ended: exit status 3: no such camera: /dev/video0", h.Reason)
	here := r.node.here()[0]
	require.Equal(t, "exit status 3: no such camera: /dev/video0", here.LastExit)
	data, err := os.ReadFile(here.Log)
	require.NoError(t, err)
	require.Equal(t, "starting\nno such camera: /dev/video0\n", string(data))
	noted := false
	for _, e := range r.node.events.since(0) {
		noted = noted || (e.Kind == "payload-ended" && e.Text == "app ended: exit status 3: no such camera: /dev/video0; its log is "+here.Log)
	}
	require.True(t, noted)
}
