package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/starling-swarm/starling/node"
)

const (
	// quiet is how long a stream of events says nothing before it shows that it
	// is alive.
	quiet = 15 * time.Second
	// watchEvery is the least time between two statuses; changes in between are
	// merged.
	watchEvery = 250 * time.Millisecond
	// watchAtLeast is the most: ages change though nothing else does.
	watchAtLeast = 10 * time.Second
)

// A Gap says that events were lost to this reader: it fell too far behind, or the
// history was.
type Gap struct {
	From uint64 `json:"from"` // the first number that is missing
	To   uint64 `json:"to"`   // the last one, 0 if nobody knows
}

// stream writes server-sent events.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func newStream(w http.ResponseWriter) (*stream, error) {
	s := &stream{w, http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return s, s.flush()
}

func (s *stream) flush() error { return s.rc.Flush() }

// say sends one event; id and name may be empty.
func (s *stream) say(id, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	text := ""
	if id != "" {
		text += "id: " + id + "\n"
	}
	if name != "" {
		text += "event: " + name + "\n"
	}
	return s.write(text + "data: " + string(data) + "\n\n")
}

func (s *stream) write(text string) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.flush()
}

// events streams the history after ?since= or Last-Event-ID, and what happens.
// Without either it begins as far back as the node remembers.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	last, asked, err := position(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	out, err := newStream(w)
	if err == nil {
		err = s.follow(r.Context(), out, last, asked)
	}
	if err != nil && r.Context().Err() == nil {
		s.log.Debug("stream of events ended", "err", err)
	}
}

// position is the number after which a reader wants events, and whether it said so.
func position(r *http.Request) (last uint64, asked bool, err error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.FormValue("since")
	}
	if text == "" {
		return 0, false, nil
	}
	last, err = strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, true, fmt.Errorf("%w: since %q: want the number of an event", node.ErrRequest, text)
	}
	return last, true, nil
}

func (s *Server) follow(ctx context.Context, out *stream, last uint64, asked bool) error {
	if all := s.n.Events(0); asked && last > 0 && (len(all) == 0 || all[len(all)-1].Number < last) {
		// The reader has seen more than there is: the history began anew.
		if err := out.say("", "gap", Gap{From: last + 1}); err != nil {
			return err
		}
		last, asked = 0, false
	}
	alive := time.NewTicker(quiet)
	defer alive.Stop()
	for {
		changed := s.n.Changed()
		for _, e := range s.n.Events(last) {
			if asked && e.Number > last+1 {
				if err := out.say("", "gap", Gap{From: last + 1, To: e.Number - 1}); err != nil {
					return err
				}
			}
			if err := out.say(strconv.FormatUint(e.Number, 10), "", e); err != nil {
				return err
			}
			last, asked = e.Number, true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-alive.C:
			if err := out.write(": still here\n\n"); err != nil {
				return err
			}
		}
	}
}

// watch streams whole statuses.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	out, err := newStream(w)
	if err == nil {
		err = s.watchStatus(r.Context(), out)
	}
	if err != nil && r.Context().Err() == nil {
		s.log.Debug("stream of statuses ended", "err", err)
	}
}

func (s *Server) watchStatus(ctx context.Context, out *stream) error {
	var said string
	at := time.Time{}
	pause := time.NewTimer(watchEvery)
	defer pause.Stop()
	for {
		changed := s.n.Changed()
		now := s.n.Status()
		print, err := fingerprint(now)
		if err != nil {
			return err
		}
		if print != said || time.Since(at) >= watchAtLeast {
			if err := out.say("", "", now); err != nil {
				return err
			}
			said, at = print, time.Now()
		}
		pause.Reset(watchAtLeast)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-pause.C:
		}
		pause.Reset(watchEvery)
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
	}
}

// fingerprint is equal for two statuses that differ in nothing but the time.
func fingerprint(s *node.Status) (string, error) {
	c := *s
	c.Time = time.Time{}
	if c.Order != nil {
		o := *c.Order
		o.AgeSeconds = 0
		c.Order = &o
	}
	if c.Rollout != nil && c.Rollout.Counts != nil {
		r, n := *c.Rollout, *c.Rollout.Counts
		n.OldestSeconds, r.Counts = 0, &n
		c.Rollout = &r
	}
	c.Here = append([]node.ComponentView(nil), c.Here...)
	for i := range c.Here {
		c.Here[i].HealthySeconds = 0
		c.Here[i].Gate.Leases = append([]node.LeaseView(nil), c.Here[i].Gate.Leases...)
		for j := range c.Here[i].Gate.Leases {
			c.Here[i].Gate.Leases[j].LeftSeconds = 0
		}
	}
	c.Warnings = append([]node.Warning(nil), c.Warnings...)
	for i := range c.Warnings {
		c.Warnings[i].Text = "" // it may name an age
	}
	data, err := json.Marshal(&c)
	return string(data), err
}
