package update

import (
	"fmt"
	"strings"
)

// words joins what is not empty: the transcript and log form of events and actions.
func words(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

// when is text if on, else empty.
func when(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

// String is "restarted link=a mark=a running=a".
func (e Restarted) String() string {
	return words("restarted", when(e.Lost, "record lost"), when(e.Linked, "link="+e.Link.String()),
		when(e.Marked, "mark="+e.Mark.String()), when(e.Running, "running="+e.Slot.String()))
}

// String is "wanted 1.4.2 (9f86d081884c) rollout 3 may arm".
func (e Wanted) String() string {
	return words("wanted", e.Release.String(), when(e.Variant == nil, "with no variant for this robot"),
		fmt.Sprintf("%s %d", e.Kind, e.Rollout), when(e.MayArm, "may arm"))
}

// String is "unwanted: the reason".
func (e Unwanted) String() string { return "unwanted: " + e.Reason }

// String is "back: the reason" or "back by hand: the reason".
func (e Back) String() string { return words("back", when(e.ByHand, "by hand")) + ": " + e.Reason }

// String is "fetch done".
func (e FetchDone) String() string { return "fetch done" }

// String is "fetch failed: the error".
func (e FetchFailed) String() string {
	return words("fetch failed", when(e.Space, "for want of space")) + ": " + e.Err
}

// String is "progress 500".
func (e Progress) String() string { return fmt.Sprintf("progress %d", e.Permille) }

// String is "stage done".
func (e StageDone) String() string { return "stage done" }

// String is "stage failed: the error".
func (e StageFailed) String() string {
	return words("stage failed", when(e.Damaged, "damaged"), when(e.Later, "later")) + ": " + e.Err
}

// String is "granted".
func (e Granted) String() string { return "granted" }

// String is "refused: the reason".
func (e Refused) String() string { return "refused: " + e.Reason }

// String is "gate closed: the reason" or "gate held: the reason".
func (e GateClosed) String() string {
	if e.Hold {
		return "gate held: " + e.Reason
	}
	return "gate closed: " + e.Reason
}

// String is "gate open".
func (e GateOpen) String() string { return "gate open" }

// String is "activated".
func (e Activated) String() string { return "activated" }

// String is "activate failed: the error".
func (e ActivateFailed) String() string {
	return words("activate failed", when(e.Later, "later")) + ": " + e.Err
}

// String is "stopped".
func (e Stopped) String() string { return "stopped" }

// String is "probe ok" or "probe failed: the reason".
func (e Probe) String() string {
	if e.OK {
		return "probe ok"
	}
	return "probe failed: " + e.Reason
}

// String is "payload exited in a: the reason".
func (e PayloadExited) String() string {
	return fmt.Sprintf("payload exited in %s: %s", e.Slot, e.Reason)
}

// String is "commit done".
func (e CommitDone) String() string { return "commit done" }

// String is "commit failed: the error".
func (e CommitFailed) String() string { return "commit failed: " + e.Err }

// String is "saved".
func (e Saved) String() string { return "saved" }

// String is "save failed: the error".
func (e SaveFailed) String() string { return "save failed: " + e.Err }

// String is "tick".
func (e Tick) String() string { return "tick" }

// String is "save trial into=b attempts=2".
func (a Save) String() string {
	r := &a.Record
	return words("save", r.Phase.String(), when(r.HasCommitted, "committed="+r.Committed.String()),
		fmt.Sprintf("a=%s b=%s attempts=%d", r.Slots[A].State, r.Slots[B].State, r.Attempts))
}

// String is "fetch 1.4.2 (9f86d081884c) into b".
func (a Fetch) String() string { return fmt.Sprintf("fetch %s into %s", a.Release, a.Slot) }

// String is "cancel fetch".
func (a CancelFetch) String() string { return "cancel fetch" }

// String is "stage b".
func (a Stage) String() string { return "stage " + a.Slot.String() }

// String is "arm 1.4.2 (9f86d081884c) for rollout 3".
func (a Arm) String() string { return fmt.Sprintf("arm %s for %s %d", a.Release, a.Kind, a.Rollout) }

// String is "switch to b" or "switch back to a".
func (a Switch) String() string { return words("switch", when(a.Back, "back"), "to "+a.To.String()) }

// String is "start b".
func (a Start) String() string { return "start " + a.Slot.String() }

// String is "stop".
func (a Stop) String() string { return "stop" }

// String is "commit b".
func (a Commit) String() string { return "commit " + a.Slot.String() }

// String is "report " and the status.
func (a Report) String() string { return "report " + a.Status.String() }
