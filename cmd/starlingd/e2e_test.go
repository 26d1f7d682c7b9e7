//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/consensus/order"
)

// fault is a robot that is killed at a named step of an update.
type fault struct {
	robot string
	step  string // the fail point, without the component
	power bool   // the payload is killed too, as by a loss of power
	runs  string // version that runs at that moment: until trial the old one
	done  bool
}

// TestKilledAtEachStep is the promise: SIGKILL of any robot at each of the updater's
// phases, and of starlingd alone while the payload runs, leaves exactly one whole
// release running after the restart, and the rollout goes to its end. Each step is
// reached for certain: the robot stops itself there.
func TestKilledAtEachStep(t *testing.T) {
	needProc(t)
	if testing.Short() {
		t.Skip("takes a minute: a swarm of processes, four rollouts, seventeen kills at a step")
	}
	s := newSwarm(t, 5)

	s.shipThrough("1.0.0", "1.1.0", []*fault{
		{robot: "r1", step: "fetching", runs: "1.0.0"},
		{robot: "r2", step: "fetched", runs: "1.0.0"},
		{robot: "r3", step: "staging", runs: "1.0.0"},
		{robot: "r4", step: "staged", runs: "1.0.0"},
		{robot: "r5", step: "armed", runs: "1.0.0"},
	})
	s.shipThrough("1.1.0", "1.2.0", []*fault{
		{robot: "r1", step: "trial", runs: "1.1.0"},
		{robot: "r2", step: "activated", runs: "1.2.0"},
		{robot: "r3", step: "committed", runs: "1.2.0"},
		{robot: "r4", step: "trial", runs: "1.1.0", power: true},
		{robot: "r5", step: "activated", runs: "1.2.0", power: true},
	})
	s.shipThrough("1.2.0", "1.3.0", []*fault{
		{robot: "r1", step: "fetching", runs: "1.2.0", power: true},
		{robot: "r2", step: "staging", runs: "1.2.0", power: true},
		{robot: "r3", step: "armed", runs: "1.2.0", power: true},
		{robot: "r4", step: "committed", runs: "1.3.0", power: true},
		{robot: "r5", step: "staged", runs: "1.2.0", power: true},
	})
	s.throwBack("1.3.0", "1.4.0")
	s.losesRecord(s.robots[0], "1.3.0", false)
	s.losesRecord(s.robots[1], "1.3.0", true)
	s.noBugs()
}

// shipThrough rolls a good release out while robots are killed.
func (s *swarm) shipThrough(from, to string, faults []*fault) {
	rel := s.publish(to, "exec sleep 600")
	s.arrange(faults)
	s.start(s.plan(rel), rel)
	s.until(to+" is done", func() bool {
		s.strike(faults, from, to)
		_, over := s.over(rel)
		return over && s.settled(to)
	})
	how, _ := s.over(rel)
	require.Equal(s.t, order.Finished, how)
	require.Equal(s.t, rel.Ref(), s.op.View().Order.Component("app").Active)
	s.fired(faults)
}

// throwBack ships a release that falls ill after it has begun well, and kills its
// canaries on their way back. One may fail, so that there is a second one to kill.
func (s *swarm) throwBack(from, to string) {
	rel := s.publish(to, "sleep 0.3\necho 'navigation lost its heartbeat' > \"$STARLING_DATA/health\"\nexec sleep 600")
	plan := s.plan(rel)
	plan.CanaryMin, plan.CanaryGate.MaxFailures = 2, 1
	plan.MinHealthySeconds = 30 // a payload that is slow to fall ill must not be committed before
	canaries := s.canaries(plan, rel)
	require.Len(s.t, canaries, 2)
	faults := []*fault{
		{robot: canaries[0], step: "reverting", runs: to},
		{robot: canaries[1], step: "reverted", runs: from},
	}
	s.arrange(faults)
	s.start(plan, rel)
	s.until(to+" is taken back", func() bool {
		s.strike(faults, from, to)
		_, over := s.over(rel)
		return over && s.settled(from)
	})
	how, _ := s.over(rel)
	require.Equal(s.t, order.Reverted, how)
	o := s.op.View().Order
	require.True(s.t, o.Quarantined(rel.Digest()))
	require.Equal(s.t, s.releases[from].Ref(), o.Component("app").Active)
	s.fired(faults)
}

// arrange restarts the robots so that they stop at their faults.
func (s *swarm) arrange(faults []*fault) {
	points := map[string]string{}
	for _, f := range faults {
		points[f.robot] = "app/" + f.step
	}
	s.restart(points)
}

// fired fails the test if a fault never struck: then nothing was tested.
func (s *swarm) fired(faults []*fault) {
	for _, f := range faults {
		require.True(s.t, f.done, "%s never came to %s", f.robot, f.step)
	}
}

// strike kills the robots that stand still at their step, and sees to it that each
// comes back with one whole release.
func (s *swarm) strike(faults []*fault, from, to string) {
	for _, f := range faults {
		r := s.robot(f.robot)
		if f.done || !r.stopped() {
			continue
		}
		f.done = true
		require.True(s.t, r.said("failpoint app/"+f.step+"\n"), "%s stopped elsewhere", r.name)
		was, ok := r.payload()
		require.True(s.t, ok, "%s at %s runs nothing", r.name, f.step)
		require.Equal(s.t, f.runs, was.version, "%s at %s", r.name, f.step)
		r.kill()
		if f.power {
			r.killPayloads()
		}
		if !f.power {
			now, ok := r.payload()
			require.True(s.t, ok && now == was, "the payload of %s did not survive its daemon at %s", r.name, f.step)
		}
		r.start("")
		s.comesBack(r, f, was, from, to)
	}
}

// comesBack waits until the robot runs one whole release again. What the daemon
// finds running it must have taken over, even if it goes on with the update at once.
func (s *swarm) comesBack(r *robot, f *fault, was payload, from, to string) {
	var now payload
	s.until(r.name+" is back after "+f.step, func() bool {
		if !s.back(r) || s.whole(r, from, to) != nil {
			return false
		}
		now, _ = r.payload()
		return f.power || r.adopted(was)
	})
	s.t.Logf("%s killed at %s (power %v) with %s, comes back with %s", r.name, f.step, f.power, was.version, now.version)
}

func (s *swarm) robot(name string) *robot {
	for _, r := range s.robots {
		if r.name == name {
			return r
		}
	}
	require.Fail(s.t, "no robot "+name)
	return nil
}

// losesRecord damages both copies of the record while the daemon is down, and with
// power the payload is down too: what was committed runs on, or runs again. A moment
// later the robot may install the release anew, into the other slot.
func (s *swarm) losesRecord(r *robot, version string, power bool) {
	r.kill()
	was, ok := r.payload()
	require.True(s.t, ok)
	if power {
		r.killPayloads()
	}
	for _, name := range []string{"record", "record.prev"} {
		path := r.file("state", "state", "app", name)
		data, err := os.ReadFile(path)
		require.NoError(s.t, err)
		data[len(data)/2] ^= 1
		require.NoError(s.t, os.WriteFile(path, data, 0o600))
	}
	r.start("")
	s.until("what was committed runs", func() bool {
		return s.back(r) && (power || r.adopted(was)) && s.whole(r, version) == nil && r.firstSlot() != ""
	})
	require.Equal(s.t, filepath.Base(was.slot), r.firstSlot())
	require.True(s.t, r.said("record damaged"))
	s.until("it knows again what it runs", func() bool { return s.settled(version) })
}
