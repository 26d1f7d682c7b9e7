package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/starling-swarm/starling/node"
)

// maxEvent bounds one event of a stream.
const maxEvent = 8 << 20

// A Happening is one item of a stream of events: an Event, or a Gap.
type Happening struct {
	Event *node.Event
	Gap   *Gap // events are missing here
}

// Events streams what happened after the event with number since (0: as far back as
// the node remembers) and what happens, until ctx ends or the loop is left. The
// last pair has an error, a *Problem, if the stream broke; then go on from the last
// number seen.
func (c *Client) Events(ctx context.Context, since uint64) iter.Seq2[Happening, error] {
	path := "/v1/events"
	if since > 0 {
		path += "?since=" + strconv.FormatUint(since, 10)
	}
	return func(yield func(Happening, error) bool) {
		c.stream(ctx, path, func(name string, data []byte) error {
			var h Happening
			var into any
			if name == "gap" {
				h.Gap = &Gap{}
				into = h.Gap
			} else {
				h.Event = &node.Event{}
				into = h.Event
			}
			if err := json.Unmarshal(data, into); err != nil {
				return fmt.Errorf("the agent's event is not readable: %w", err)
			}
			if !yield(h, nil) {
				return errLeft
			}
			return nil
		}, func(err error) { yield(Happening{}, err) })
	}
}

// Watch streams whole statuses, one now and one whenever something changes, until ctx
// ends or the loop is left. The last pair has an error if the stream broke.
func (c *Client) Watch(ctx context.Context) iter.Seq2[*node.Status, error] {
	return func(yield func(*node.Status, error) bool) {
		c.stream(ctx, "/v1/watch", func(_ string, data []byte) error {
			var s node.Status
			if err := json.Unmarshal(data, &s); err != nil {
				return fmt.Errorf("the agent's status is not readable: %w", err)
			}
			if !yield(&s, nil) {
				return errLeft
			}
			return nil
		}, func(err error) { yield(nil, err) })
	}
}

// errLeft ends a stream whose reader has left its loop.
var errLeft = fmt.Errorf("api: the reader has left")

// stream reads server-sent events and hands each to take, until take returns an
// error. It calls broke at most once, and not after errLeft or when ctx has ended.
func (c *Client) stream(ctx context.Context, path string, take func(name string, data []byte) error, broke func(error)) {
	resp, err := c.open(ctx, http.MethodGet, path, "", nil, nil)
	if err != nil {
		if ctx.Err() == nil {
			broke(err)
		}
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	name, data := "", []byte(nil)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" && data != nil:
			if err = take(name, data); err == errLeft {
				return
			} else if err != nil {
				broke(ProblemOf(err))
				return
			}
			name, data = "", nil
		case strings.HasPrefix(line, "event: "):
			name = strings.TrimPrefix(line, "event: ")
		case strings.HasPrefix(line, "data: "):
			data = append(data, strings.TrimPrefix(line, "data: ")...)
		}
	}
	if ctx.Err() != nil {
		return
	}
	if err = lines.Err(); err == nil {
		err = fmt.Errorf("the agent ended the stream")
	}
	broke(c.lost(ctx, err))
}
