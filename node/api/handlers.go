package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/join"
)

const (
	// maxBody bounds every body: the largest is trust metadata.
	maxBody = trust.MaxBundleBytes
	// maxJSON bounds a body of JSON.
	maxJSON = 64 << 10
	// decideTime is how long a decision may take to be applied.
	decideTime = time.Minute
	// publishTime is how long new trust metadata may take to reach the voters.
	publishTime = 10 * time.Second
	// pingTime is how long a healthy node takes to answer itself.
	pingTime = 2 * time.Second
)

// DoneSchema is the schema of an Outcome.
const DoneSchema = "starling.done/v1"

// An Outcome is the answer to a request that has nothing else to tell.
type Outcome struct {
	Schema string `json:"schema"`
	Text   string `json:"text"`
	// Published, for trust metadata, says that the voters have it.
	Published bool `json:"published,omitempty"`
}

// An Imported is the answer to an import.
type Imported struct {
	Schema  string           `json:"schema"`
	Release node.ReleaseName `json:"release"`
	Packs   int              `json:"packs"` // of the file's, that are served
	Text    string           `json:"text"`
}

// Health says whether the node's goroutines answer.
type Health struct {
	Schema string `json:"schema"`
	OK     bool   `json:"ok"`
	Joined bool   `json:"joined"`
	Text   string `json:"text"`
}

// readBody takes in the whole body before it is acted on: it must arrive in time,
// and what follows may take long.
func readBody(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return nil
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// body is the body of bytes, if it is within limit.
func body(r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	return data, err
}

// input reads a body of JSON strictly.
func input(r *http.Request, v any) error {
	data, err := body(r, maxJSON)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: the body is not the JSON that is wanted: %w", node.ErrRequest, err)
	}
	return nil
}

func (s *Server) getNode(r *http.Request) (any, error) {
	w, err := s.n.NodeByID(member.ID(r.PathValue("id")))
	if err != nil {
		return nil, err
	}
	return struct {
		Schema string `json:"schema"`
		*node.NodeView
	}{"starling.node/v1", w}, nil
}

func (s *Server) getRollout(r *http.Request) (any, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: rollout %q: want a number", node.ErrRequest, r.PathValue("id"))
	}
	return s.n.Rollout(id)
}

func (s *Server) getDocument(r *http.Request) (any, error) {
	data, err := s.n.Document(r.Context(), join.DocumentKind(r.PathValue("kind")), r.PathValue("digest"))
	return raw(data), err
}

func (s *Server) getHealth(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTime)
	defer cancel()
	h := &Health{Schema: "starling.health/v1", OK: true, Joined: s.n.View() != nil, Text: "the node answers"}
	if err := s.n.Ping(ctx); err != nil {
		h.OK, h.Text = false, err.Error()
	}
	return h, nil
}

// postDecision takes a decision that proves itself, and answers when it is applied.
func (s *Server) postDecision(r *http.Request) (any, error) {
	data, err := body(r, rollout.MaxDecisionBytes)
	if err != nil {
		return nil, err
	}
	d, err := rollout.DecodeDecision(data)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), decideTime)
	defer cancel()
	if err := s.n.Propose(ctx, d); err != nil {
		return nil, err
	}
	return &Outcome{Schema: DoneSchema, Text: d.Kind.String() + " is decided"}, nil
}

func (s *Server) postTrust(r *http.Request) (any, error) {
	data, err := body(r, maxBody)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishTime)
	defer cancel()
	published, err := s.n.TakeTrust(ctx, data)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Schema: DoneSchema, Published: published, Text: "the trust metadata is kept here and will be published when the voters can be reached"}
	if published {
		out.Text = "the trust metadata is published"
	}
	return out, nil
}

func (s *Server) postImport(r *http.Request) (any, error) {
	var q struct {
		Path string `json:"path"`
	}
	if err := input(r, &q); err != nil {
		return nil, err
	}
	in, err := s.n.Import(r.Context(), q.Path)
	if err != nil {
		return nil, err
	}
	rel := in.Release
	return &Imported{
		Schema: "starling.imported/v1", Text: in.Text, Packs: in.Packs,
		Release: node.ReleaseName{Component: rel.Component, Version: rel.Version, Counter: rel.Counter, Digest: rel.Digest()},
	}, nil
}

func (s *Server) postPack(r *http.Request) (any, error) {
	var q packRequest
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.Pack(r.Context(), q.From, q.To)
}

// packRequest names two releases by their digests.
type packRequest struct {
	From manifest.Digest `json:"from"`
	To   manifest.Digest `json:"to"`
}

func (s *Server) postInvite(r *http.Request) (any, error) {
	var q node.InviteRequest
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.Invite(r.Context(), q)
}

func (s *Server) postLabels(r *http.Request) (any, error) {
	var q struct {
		Labels map[string]string `json:"labels"`
	}
	if err := input(r, &q); err != nil {
		return nil, err
	}
	id := member.ID(r.PathValue("id"))
	if err := s.n.SetLabels(r.Context(), id, q.Labels); err != nil {
		return nil, err
	}
	return &Outcome{Schema: DoneSchema, Text: string(id) + " has its labels in the next roster"}, nil
}

func (s *Server) postRevoke(r *http.Request) (any, error) {
	return s.n.Revoke(r.Context(), member.ID(r.PathValue("id")))
}

func (s *Server) postBegin(r *http.Request) (any, error) {
	var q struct {
		Voters int    `json:"voters"`
		After  uint32 `json:"after"` // the generation to end; 0 starts the first
	}
	if err := input(r, &q); err != nil {
		return nil, err
	}
	if q.After > 0 {
		if err := s.n.BeginAnew(r.Context(), q.After, q.Voters); err != nil {
			return nil, err
		}
		return &Outcome{Schema: DoneSchema, Text: fmt.Sprintf("generation %d starts with %d voters", q.After+1, q.Voters)}, nil
	}
	if err := s.n.Begin(r.Context(), q.Voters); err != nil {
		return nil, err
	}
	return &Outcome{Schema: DoneSchema, Text: fmt.Sprintf("generation 1 starts with %d voters", q.Voters)}, nil
}

func (s *Server) postGate(r *http.Request) (any, error) {
	var q node.GateRequest
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.SetGate(q)
}

func (s *Server) postConditions(r *http.Request) (any, error) {
	var q node.ConditionsRequest
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.SetConditions(q)
}

func (s *Server) postRollback(r *http.Request) (any, error) {
	var q struct {
		Component string `json:"component"`
		Reason    string `json:"reason"`
	}
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.Rollback(r.Context(), q.Component, q.Reason)
}

func (s *Server) postHalt(r *http.Request) (any, error) {
	data, err := body(r, int64(envelope.MaxBytes(envelope.Halt)))
	if err != nil {
		return nil, err
	}
	return s.n.Halt(r.Context(), data)
}
