package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// past is a history that begins at event 50.
func past() string {
	var b strings.Builder
	for n := 50; n < 53; n++ {
		fmt.Fprintf(&b, `{"number":%d,"time":"2026-05-04T06:30:00Z","kind":"order","text":"rollout 3 of app 1.5.0 is done","component":"app","release":"1.5.0","rollout":3,"status":"done","stage":"done"}`+"\n", n)
	}
	return b.String()
}

// firsts reads the first n items of the stream of events.
func firsts(t *testing.T, l *laptop, since uint64, n int) []string {
	var out []string
	for h, err := range l.Events(l.ctx, since) {
		require.NoError(t, err)
		if h.Gap != nil {
			out = append(out, fmt.Sprintf("gap %d-%d", h.Gap.From, h.Gap.To))
		} else {
			out = append(out, fmt.Sprintf("event %d", h.Event.Number))
		}
		if len(out) == n {
			break
		}
	}
	return out
}

func TestEventsSayWhatIsMissing(t *testing.T) {
	l := newLaptop(t, past())
	require.Equal(t, []string{"event 50", "event 51"}, firsts(t, l, 0, 2), "from the beginning nothing is missing")
	require.Equal(t, []string{"event 52"}, firsts(t, l, 51, 1))
	require.Equal(t, []string{"gap 11-49", "event 50"}, firsts(t, l, 10, 2))
	require.Equal(t, []string{"gap 9001-0", "event 50"}, firsts(t, l, 9000, 2), "the history began anew")
}

func TestLastEventIDGoesOn(t *testing.T) {
	l := newLaptop(t, past())
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, "http://localhost/v1/events?since=50", nil)
	require.NoError(t, err)
	req.Header.Set("Last-Event-ID", "51")
	resp, err := bare(l.socket).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	head := make([]byte, len("id: 52\ndata: {"))
	_, err = io.ReadFull(resp.Body, head)
	require.NoError(t, err)
	require.Equal(t, "id: 52\ndata: {", string(head))
}

func TestEventsArriveWhileWatched(t *testing.T) {
	l := newLaptop(t, past())
	begun := false
	for h, err := range l.Events(l.ctx, 51) {
		require.NoError(t, err)
		if !begun { // the stream is open: now something happens
			begun = true
			_, err := l.Begin(l.ctx, 1)
			require.NoError(t, err)
		}
		if h.Event.Kind == "order" && strings.Contains(h.Event.Text, "voters are op") {
			return
		}
	}
	require.Fail(t, "no event")
}

func TestOldRolloutsComeFromTheHistory(t *testing.T) {
	l := newLaptop(t, past())
	all, err := l.Rollouts(l.ctx)
	require.NoError(t, err)
	require.Len(t, all.Rollouts, 1)
	r, err := l.Rollout(l.ctx, 3)
	require.NoError(t, err)
	require.Equal(t, "done", r.Status)
	require.True(t, r.Final)
	require.Equal(t, "1.5.0", r.Release.Version)
	require.Len(t, r.Events, 3)
}

func TestWatchSaysEachChangeOnce(t *testing.T) {
	l := newLaptop(t, "")
	var seen []string
	for s, err := range l.Watch(l.ctx) {
		require.NoError(t, err)
		if s.Order == nil {
			if len(seen) == 0 {
				_, err := l.Begin(l.ctx, 1)
				require.NoError(t, err)
			}
			seen = append(seen, "none")
			continue
		}
		if s.Quorum.Leader == "op" {
			break
		}
	}
	require.NotEmpty(t, seen)

	// A stream that the node ends is a problem, one that the reader leaves is not.
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	for _, err := range l.Watch(ctx) {
		require.NoError(t, err)
		cancel()
	}
	var last *node.Status
	for s, err := range api.Dial(t.TempDir() + "/none.sock").Watch(l.ctx) {
		last = s
		problem(t, api.Unreachable, err)
	}
	require.Nil(t, last)
}
