package update

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
)

// a script drives one Updater. Each line of input is an event; its answers go to
// the last action of their kind, and a Save is answered at once.
type script struct {
	t     *testing.T
	now   time.Time
	u     *Updater
	disk  Record
	full  bool
	ops   map[string]uint32
	out   strings.Builder
	since time.Time
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t, now: epoch, since: epoch, ops: map[string]uint32{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			lines := []string{d.Cmd}
			for _, a := range d.CmdArgs {
				lines[0] += " " + a.String()
			}
			if d.Input != "" {
				lines = append(lines, strings.Split(d.Input, "\n")...)
			}
			for _, line := range lines {
				s.line(strings.Fields(line))
			}
			if s.out.Len() == 0 {
				return "nothing\n"
			}
			return s.out.String()
		})
	})
}

func (s *script) line(f []string) {
	rest := strings.Join(f[1:], " ")
	has := func(word string) bool { return strings.Contains(" "+rest+" ", " "+word+" ") }
	switch f[0] {
	case "robot": // robot [v1]: new, or running v1 from slot a
		s.disk = NewRecord("app")
		if len(f) > 1 {
			n, _ := strconv.ParseUint(f[1][1:], 10, 64)
			s.disk = Baseline("app", A, content(f[1], n))
		}
		s.u = New(s.disk, Config{})
	case "restart": // restart link=a mark=a running=a
		e := Restarted{Lost: has("lost")}
		for _, w := range f[1:] {
			k, v, _ := strings.Cut(w, "=")
			slot, _ := ParseSlot(v)
			switch k {
			case "link":
				e.Linked, e.Link = true, slot
			case "mark":
				e.Marked, e.Mark = true, slot
			case "running":
				e.Running, e.Slot = true, slot
			}
		}
		s.u = New(s.disk, Config{})
		s.step(e)
	case "wanted": // wanted v2 rollout=1 arm back active
		n, _ := strconv.ParseUint(f[1][1:], 10, 64)
		w := Wanted{Release: release(f[1], n), Variant: variant(f[1]), MayArm: has("arm"), MinHealthy: time.Minute, HealthyDeadline: 10 * time.Minute}
		if has("back") {
			w.Kind = Revert
		}
		if has("active") {
			w.Kind = CatchUp
		}
		for _, a := range f[2:] {
			if v, ok := strings.CutPrefix(a, "rollout="); ok {
				w.Rollout, _ = strconv.ParseUint(v, 10, 64)
			}
		}
		s.step(w)
	case "advance":
		s.advance(rest)
	case "disk":
		s.full = rest == "full"
	case "status":
		fmt.Fprintln(&s.out, s.u.Status())
	default:
		s.step(s.event(f[0], rest, has))
	}
}

func (s *script) event(name, rest string, has func(string) bool) Event {
	switch name {
	case "unwanted":
		return Unwanted{rest}
	case "back":
		return Back{Reason: rest, ByHand: has("hand")}
	case "fetched":
		return FetchDone{s.ops["fetch"]}
	case "progress":
		n, _ := strconv.ParseUint(rest, 10, 16)
		return Progress{s.ops["fetch"], uint16(n)}
	case "fetch-failed":
		return FetchFailed{s.ops["fetch"], rest, has("space")}
	case "staged":
		return StageDone{s.ops["stage"]}
	case "stage-failed":
		return StageFailed{s.ops["stage"], rest, has("damaged"), has("later")}
	case "granted":
		return Granted{s.ops["arm"]}
	case "refused":
		return Refused{s.ops["arm"], rest}
	case "activated":
		return Activated{s.ops["act"]}
	case "activate-failed":
		return ActivateFailed{s.ops["act"], rest, has("later")}
	case "stopped":
		return Stopped{s.ops["act"]}
	case "commit-done":
		return CommitDone{s.ops["commit"]}
	case "well":
		return Probe{OK: true}
	case "unwell":
		return Probe{Reason: rest}
	case "exited":
		slot, err := ParseSlot(rest[:1])
		require.NoError(s.t, err)
		return PayloadExited{Slot: slot, Reason: "exit status 1"}
	case "gate":
		if rest == "open" {
			return GateOpen{}
		}
		return GateClosed{Hold: rest == "held", Reason: "airborne"}
	}
	s.t.Fatalf("no event %q", name)
	return nil
}

// advance brings a Tick at each Deadline on the way.
func (s *script) advance(by string) {
	d, err := time.ParseDuration(by)
	require.NoError(s.t, err)
	end := s.now.Add(d)
	for {
		next := s.u.Deadline()
		if next.IsZero() || next.After(end) {
			break
		}
		s.now = next
		s.step(Tick{})
	}
	s.now = end
}

func (s *script) step(e Event) {
	actions := s.u.Step(s.now, e)
	require.NoError(s.t, s.u.check())
	saved := false
	for _, a := range actions {
		fmt.Fprintf(&s.out, "+%v %s\n", s.now.Sub(s.since), a)
		switch a := a.(type) {
		case Save:
			if s.full {
				s.step(SaveFailed{"no space left on device"})
				return
			}
			s.disk, saved = a.Record, true
		case Fetch:
			s.ops["fetch"] = a.Op
		case Stage:
			s.ops["stage"] = a.Op
		case Arm:
			s.ops["arm"] = a.Op
		case Switch:
			s.ops["act"] = a.Op
		case Start:
			s.ops["act"] = a.Op
		case Stop:
			s.ops["act"] = a.Op
		case Commit:
			s.ops["commit"] = a.Op
		}
	}
	if saved {
		s.step(Saved{})
	}
}

// TestDeadlineIsAhead keeps the driver from spinning: a deadline is never now.
func TestDeadlineIsAhead(t *testing.T) {
	w := newWorld(t, -1, false).withBaseline()
	w.order = func() []Event { return []Event{wants("v2", 2, 1)} }
	for range 200 {
		w.round()
		d := w.u.Deadline()
		require.True(t, d.IsZero() || d.After(w.now), "deadline %v at %v", d, w.now)
	}
	require.Equal(t, member.Committed, w.u.Record().Phase)
}

func TestRecordRefusesDamage(t *testing.T) {
	rec := Baseline("app", A, content("v1", 1))
	whole := rec.Encode()
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x10
		_, err := DecodeRecord(bad)
		require.Error(t, err, "byte %d flipped", i)
		_, err = DecodeRecord(whole[:i])
		require.ErrorIs(t, err, ErrDamaged, "cut at %d", i)
	}
	rec.Phase, rec.Into = member.Trial, A
	_, err := DecodeRecord(rec.Encode())
	require.ErrorIs(t, err, ErrInvalid)
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"plain":              "plain",
		"two\nlines \t here": "two lines here",
		"bad \xff utf8":      "bad ? utf8",
	} {
		require.Equal(t, want, clip(in))
	}
	long := clip(strings.Repeat("ä", 100))
	require.LessOrEqual(t, len(long), member.MaxReason)
	require.True(t, strings.HasSuffix(long, "ä..."))
}
