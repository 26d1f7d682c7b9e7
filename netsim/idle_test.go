package netsim

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run can go well though half of what its scenario asks for never happened: it says so.
func TestWhatDidNotHappen(t *testing.T) {
	s := perform(t, small+`
story:
  - {after: joined, ship: {version: "1.1", soak: 2s, waves: [100%], batch: 2}}
  - {after: rolled-back 1.1, halt: too late}
  - {clear: later still}
faults:
  - {when: in-quarantine 1.1, pick: cart-1, crash: {}}
  - {at: 1m, pick: phase=fetching, crash: {}}
  - {at: 1s, pick: cart-2 cart-3, crash: {step: app/reverting}}
  - {at: 1s, pick: cart-3, crash: {step: app/trial, restart: 1s}}
  - {at: 50s, for: 5s, partition: {circle: {center: [0, 0], radius: 9000}}}
  - {at: 50s, for: 5s, partition: {groups: [cart-1]}}
  - {at: 50s, for: 5s, pick: cart-1, loss: {rate: 1%, to: running=1.0}}
expect: {active: "1.1"}
`, nil)
	r := s.report
	require.True(t, r.OK(), r.Why())
	require.Equal(t, []string{
		`story[1], halt, was not done: it waited for "rolled-back 1.1"`,
		`story[2], clear, was not done: it comes after the step above`,
	}, r.Untold)
	require.Equal(t, []string{
		`faults[0], crash, never came: it waited for "in-quarantine 1.1"`,
		`faults[1], crash, changed nothing: nobody whom it is about was there when it came`,
		`faults[4], partition, changed nothing: nobody whom it is about was there when it came`,
		`faults[6], loss, changed nothing: nobody whom it is about was there when it came`,
		`cart-2 should have died at app/reverting, and never came there`,
		`cart-3 should have died at app/reverting, and never came there`,
	}, r.Idle)
	require.NotEmpty(t, s.first("cart-3", "crash", "its node dies"), "the step that it did come to")

	var b bytes.Buffer
	require.NoError(t, Text(&b, []*Report{r}))
	require.Contains(t, b.String(), "did not happen: story[1], halt")
	require.Contains(t, b.String(), "but not all that should have happened did")
	b.Reset()
	require.NoError(t, Text(&b, []*Report{r, r, told()}))
	require.Contains(t, b.String(), "did not happen in 2 of 3 runs: faults[0], crash")
	require.Contains(t, pageOf(t, r), "What did not happen")
}

// What was expected and did not come is the same only if the story came equally far.
func TestEnd(t *testing.T) {
	r := told()
	require.Equal(t, r.Kind(), r.End(), "a broken promise says it all")
	r.Violations = nil
	require.Equal(t, "does not meet active 1.1; 1.1 is running", r.End())
	r.Untold = []string{"story[1]"}
	require.Equal(t, "does not meet active 1.1; 1.1 is running; 1 of the story's steps not done", r.End())
	r.Unmet = nil
	require.Empty(t, r.End())
}
