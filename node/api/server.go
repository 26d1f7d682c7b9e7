// Package api lets programs on the same machine talk to a node: HTTP over a unix
// socket, JSON in and out, and two event streams.
//
//	GET  /v1/status /v1/nodes /v1/nodes/{id} /v1/releases /v1/health
//	GET  /v1/rollouts /v1/rollouts/{id} /v1/explain?node=ID
//	GET  /v1/store /v1/releases/{component}/{version}/bundle?packs=BOOL (the latter bytes)
//	GET  /v1/trust /v1/roster /v1/documents/{kind}/{digest}    (bytes)
//	GET  /v1/events?since=N    (SSE; id = number, Last-Event-ID, event "gap")
//	GET  /v1/watch             (SSE; a whole status whenever it changes)
//	GET  /v1/gate?component=C /v1/conditions
//	POST /v1/decisions /v1/trust /v1/halt                      (signed bytes)
//	POST /v1/import /v1/packs /v1/invites /v1/begin /v1/gate /v1/conditions /v1/rollback
//	POST /v1/store/verify /v1/store/gc /v1/releases/{component}/{version}/rm
//	POST /v1/nodes/{id}/labels /v1/nodes/{id}/revoke
//
// Whoever may open the socket may look at everything. What changes the swarm
// carries a signature that the swarm checks, or needs the operator's key, which
// only an operator's node has; so the socket's permissions guard this robot and no
// other. Every answer that is not a success is a Problem.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/node"
)

const (
	// headerTime and bodyTime bound how long a request may take to arrive.
	headerTime = 5 * time.Second
	bodyTime   = 30 * time.Second
	// writeTime bounds one write of an event.
	writeTime = 10 * time.Second
	// stopTime is how long answers that are under way have to end.
	stopTime = 2 * time.Second
)

// Options of a Server; the zero value is good.
type Options struct {
	// Hosts are Host headers that are let in beside localhost: the names under
	// which a proxy forwards to the socket.
	Hosts []string
	Log   *slog.Logger // nil discards
}

// A Server answers for one node. It is safe for concurrent use.
type Server struct {
	n    *node.Node
	opts Options
	log  *slog.Logger
	mux  *http.ServeMux
}

// New makes a server; it starts nothing.
func New(n *node.Node, opts Options) *Server {
	s := &Server{n: n, opts: opts, log: opts.Log, mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.routes()
	return s
}

// Serve answers on l until ctx ends, then ends the streams and closes l. It
// returns nil if ctx ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTime, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	// ctx is over; those who wait for an answer get a little longer.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := srv.Shutdown(last)
	if err != nil {
		err = srv.Close()
	}
	<-ended
	return err
}

// Handler is the API as an http.Handler, with its checks of Host and origin.
func (s *Server) Handler() http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, &Problem{Schema: ProblemSchema, Code: Refused, Reason: "a web page of another origin asked for this", status: http.StatusForbidden})
	}))
	return s.checkHost(cross.Handler(s.mux))
}

// checkHost refuses names that a web page could have pointed here.
func (s *Server) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if ip := net.ParseIP(host); host != "localhost" && !slices.Contains(s.opts.Hosts, host) && (ip == nil || !ip.IsLoopback()) {
			s.fail(w, &Problem{
				Schema: ProblemSchema, Code: Refused, Reason: "Host " + r.Host + " is not let in", Next: "use http://localhost/ over the socket",
				status: http.StatusMisdirectedRequest,
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// routes is the list in the package comment.
func (s *Server) routes() {
	get := func(path string, f func(r *http.Request) (any, error)) { s.mux.Handle("GET "+path, s.answer(f)) }
	post := func(path string, f func(r *http.Request) (any, error)) { s.mux.Handle("POST "+path, s.answer(f)) }
	get("/v1/status", func(*http.Request) (any, error) { return s.n.Status(), nil })
	get("/v1/nodes", func(*http.Request) (any, error) { return s.n.Nodes(), nil })
	get("/v1/nodes/{id}", s.getNode)
	get("/v1/releases", func(*http.Request) (any, error) { return s.n.Releases(), nil })
	s.mux.HandleFunc("GET /v1/releases/{component}/{version}/bundle", s.getBundle)
	get("/v1/store", func(*http.Request) (any, error) { return s.n.Stored() })
	get("/v1/rollouts", func(*http.Request) (any, error) { return s.n.Rollouts(), nil })
	get("/v1/rollouts/{id}", s.getRollout)
	get("/v1/explain", func(r *http.Request) (any, error) { return s.n.Explain(r.FormValue("node")) })
	get("/v1/trust", func(*http.Request) (any, error) { return orNotReady(s.n.TrustBytes()) })
	get("/v1/roster", func(*http.Request) (any, error) { return orNotReady(s.n.RosterBytes()) })
	get("/v1/documents/{kind}/{digest}", s.getDocument)
	get("/v1/gate", func(r *http.Request) (any, error) { return s.n.Gate(r.FormValue("component")) })
	get("/v1/conditions", func(*http.Request) (any, error) { return s.n.Conditions(), nil })
	get("/v1/health", s.getHealth)
	s.mux.HandleFunc("GET /v1/events", s.events)
	s.mux.HandleFunc("GET /v1/watch", s.watch)
	post("/v1/decisions", s.postDecision)
	post("/v1/trust", s.postTrust)
	post("/v1/import", s.postImport)
	post("/v1/packs", s.postPack)
	post("/v1/store/verify", func(r *http.Request) (any, error) { return s.n.VerifyStore(r.Context()) })
	post("/v1/store/gc", s.postCollect)
	post("/v1/releases/{component}/{version}/rm", func(r *http.Request) (any, error) {
		return s.n.RemoveRelease(r.Context(), r.PathValue("component"), r.PathValue("version"))
	})
	post("/v1/invites", s.postInvite)
	post("/v1/nodes/{id}/labels", s.postLabels)
	post("/v1/nodes/{id}/revoke", s.postRevoke)
	post("/v1/begin", s.postBegin)
	post("/v1/gate", s.postGate)
	post("/v1/conditions", s.postConditions)
	post("/v1/rollback", s.postRollback)
	post("/v1/halt", s.postHalt)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, &Problem{Schema: ProblemSchema, Code: Usage, Reason: "no " + r.Method + " " + r.URL.Path, Next: "GET /v1/status", status: http.StatusNotFound})
	})
}

// raw is an answer that is bytes as they are.
type raw []byte

func orNotReady(b []byte) (any, error) {
	if b == nil {
		return nil, node.ErrNotReady
	}
	return raw(b), nil
}

// answer makes a handler of a function that returns what to send.
func (s *Server) answer(f func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := readBody(w, r); err != nil {
			s.fail(w, err)
			return
		}
		v, err := f(r)
		if err != nil {
			s.fail(w, err)
			return
		}
		if b, ok := v.(raw); ok {
			w.Header().Set("Content-Type", "application/octet-stream")
			s.send(w, b)
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			s.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if h, ok := v.(*Health); ok && !h.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		s.send(w, append(data, '\n'))
	})
}

// fail sends err as a Problem.
func (s *Server) fail(w http.ResponseWriter, err error) {
	p := ProblemOf(err)
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
		p.Code, p.status = Usage, http.StatusRequestEntityTooLarge
	}
	data, err := json.Marshal(p)
	if err != nil {
		s.log.Error("problem not encoded", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	s.send(w, append(data, '\n'))
}

func (s *Server) send(w http.ResponseWriter, b []byte) {
	if _, err := w.Write(b); err != nil {
		s.log.Debug("answer not delivered", "err", err)
	}
}
