package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/join"
)

// maxAnswer bounds an answer: a thousand members with their reports, or a manifest.
const maxAnswer = 64 << 20

// A Client talks to the node behind one socket. It is safe for concurrent use. Every
// error of its methods is a *Problem.
type Client struct {
	path string
	http *http.Client
}

// Dial returns a client for the unix socket at path, with or without "unix:" before
// it. It does not connect yet.
func Dial(path string) *Client {
	path = strings.TrimPrefix(path, "unix:")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 2}}}
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is how the swarm looks from the node.
func (c *Client) Status(ctx context.Context) (*node.Status, error) {
	return get[node.Status](ctx, c, "/v1/status")
}

// Nodes are the members of the roster.
func (c *Client) Nodes(ctx context.Context) (*node.Nodes, error) {
	return get[node.Nodes](ctx, c, "/v1/nodes")
}

// Node is one member.
func (c *Client) Node(ctx context.Context, id member.ID) (*node.NodeView, error) {
	return get[node.NodeView](ctx, c, "/v1/nodes/"+url.PathEscape(string(id)))
}

// Releases are what the owner has signed.
func (c *Client) Releases(ctx context.Context) (*node.Releases, error) {
	return get[node.Releases](ctx, c, "/v1/releases")
}

// Rollouts are those that the node knows of.
func (c *Client) Rollouts(ctx context.Context) (*node.Rollouts, error) {
	return get[node.Rollouts](ctx, c, "/v1/rollouts")
}

// Rollout is one of them with its history.
func (c *Client) Rollout(ctx context.Context, id uint64) (*node.RolloutDetail, error) {
	return get[node.RolloutDetail](ctx, c, "/v1/rollouts/"+strconv.FormatUint(id, 10))
}

// Explain says why the last rollout stands as it does, or why one node does.
func (c *Client) Explain(ctx context.Context, id member.ID) (*node.Explanation, error) {
	return get[node.Explanation](ctx, c, "/v1/explain?node="+url.QueryEscape(string(id)))
}

// Health says whether the node's goroutines answer.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	return get[Health](ctx, c, "/v1/health")
}

// Trust is the encoded trust metadata that the node has verified.
func (c *Client) Trust(ctx context.Context) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/v1/trust", "", nil)
}

// Roster is the sealed roster that the node has verified.
func (c *Client) Roster(ctx context.Context) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/v1/roster", "", nil)
}

// Document is a document by its digest, from the node or from another member.
func (c *Client) Document(ctx context.Context, kind join.DocumentKind, digest string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/v1/documents/"+url.PathEscape(string(kind))+"/"+url.PathEscape(digest), "", nil)
}

// Propose brings a decision that proves itself to the swarm, and returns when it is
// applied.
func (c *Client) Propose(ctx context.Context, d *rollout.Decision) (*Outcome, error) {
	return send[Outcome](ctx, c, "/v1/decisions", d.Encode())
}

// PublishTrust hands new trust metadata to an operator's node, which publishes it.
func (c *Client) PublishTrust(ctx context.Context, bundle []byte) (*Outcome, error) {
	return send[Outcome](ctx, c, "/v1/trust", bundle)
}

// Halt gives out a sealed halt token, one that halts or one that ends a halt.
func (c *Client) Halt(ctx context.Context, token []byte) (*node.Halting, error) {
	return send[node.Halting](ctx, c, "/v1/halt", token)
}

// Import takes the images of a .star file that the node can read.
func (c *Client) Import(ctx context.Context, path string) (*Imported, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, ProblemOf(err)
	}
	return post[Imported](ctx, c, "/v1/import", map[string]string{"path": path})
}

// Pack makes and serves the packs from one release to another, which are named by
// their digests.
func (c *Client) Pack(ctx context.Context, from, to manifest.Digest) (*node.Packs, error) {
	return post[node.Packs](ctx, c, "/v1/packs", packRequest{From: from, To: to})
}

// Invite writes an invite into the operator's book.
func (c *Client) Invite(ctx context.Context, q node.InviteRequest) (*join.Invite, error) {
	return post[join.Invite](ctx, c, "/v1/invites", q)
}

// SetLabels changes labels of a member; an empty value takes one away.
func (c *Client) SetLabels(ctx context.Context, id member.ID, labels map[string]string) (*Outcome, error) {
	return post[Outcome](ctx, c, "/v1/nodes/"+url.PathEscape(string(id))+"/labels", map[string]any{"labels": labels})
}

// Revoke takes a member out of the roster for good.
func (c *Client) Revoke(ctx context.Context, id member.ID) (*node.Revocation, error) {
	return post[node.Revocation](ctx, c, "/v1/nodes/"+url.PathEscape(string(id))+"/revoke", struct{}{})
}

// Begin starts generation 1 with this many voters.
func (c *Client) Begin(ctx context.Context, voters int) (*Outcome, error) {
	return post[Outcome](ctx, c, "/v1/begin", map[string]int{"voters": voters})
}

// BeginAnew ends a generation whose quorum is gone, and starts the next one.
func (c *Client) BeginAnew(ctx context.Context, after uint32, voters int) (*Outcome, error) {
	return post[Outcome](ctx, c, "/v1/begin", map[string]int{"voters": voters, "after": int(after)})
}

// Gate is how the interlock of a component stands.
func (c *Client) Gate(ctx context.Context, component string) (*node.GateView, error) {
	return get[node.GateView](ctx, c, "/v1/gate?component="+url.QueryEscape(component))
}

// SetGate grants, holds or releases.
func (c *Client) SetGate(ctx context.Context, q node.GateRequest) (*node.GateView, error) {
	return post[node.GateView](ctx, c, "/v1/gate", q)
}

// Conditions is what this robot's fetching depends on.
func (c *Client) Conditions(ctx context.Context) (*node.Conditions, error) {
	return get[node.Conditions](ctx, c, "/v1/conditions")
}

// SetConditions says how the robot is, for a while.
func (c *Client) SetConditions(ctx context.Context, q node.ConditionsRequest) (*node.Conditions, error) {
	return post[node.Conditions](ctx, c, "/v1/conditions", q)
}

// Rollback sends this robot's component back one step, by hand.
func (c *Client) Rollback(ctx context.Context, component, reason string) (*node.ComponentView, error) {
	return post[node.ComponentView](ctx, c, "/v1/rollback", map[string]string{"component": component, "reason": reason})
}

func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	data, err := c.do(ctx, http.MethodGet, path, "", nil)
	return parse[T](data, err)
}

func post[T any](ctx context.Context, c *Client, path string, in any) (*T, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return nil, ProblemOf(err)
	}
	data, err = c.do(ctx, http.MethodPost, path, "application/json", data)
	return parse[T](data, err)
}

func send[T any](ctx context.Context, c *Client, path string, in []byte) (*T, error) {
	data, err := c.do(ctx, http.MethodPost, path, "application/octet-stream", in)
	return parse[T](data, err)
}

func parse[T any](data []byte, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, ProblemOf(fmt.Errorf("the agent's answer is not readable: %w", err))
	}
	return &v, nil
}

// do sends a request and returns the body of a success.
func (c *Client) do(ctx context.Context, method, path, kind string, in []byte) ([]byte, error) {
	resp, err := c.open(ctx, method, path, kind, in, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	return data, nil
}

// open sends a request and returns the answer if it is a success.
func (c *Client) open(ctx context.Context, method, path, kind string, in []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, bytes.NewReader(in))
	if err != nil {
		return nil, ProblemOf(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode == http.StatusOK || strings.HasPrefix(path, "/v1/health") {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problemIn(resp)
}

// problemIn reads the Problem of an answer.
func problemIn(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON))
	p := &Problem{}
	if err == nil {
		err = json.Unmarshal(data, p)
	}
	if err != nil || p.Schema != ProblemSchema {
		return &Problem{Schema: ProblemSchema, Code: Failed, Reason: "the agent answered " + resp.Status}
	}
	p.status = resp.StatusCode
	return p
}

// lost is the Problem of a node that does not answer.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ProblemOf(ctx.Err())
	}
	var op *net.OpError
	reason := "the agent's connection broke: " + err.Error()
	if errors.As(err, &op) && op.Op == "dial" {
		reason = "no agent answers on " + c.path + ": " + op.Err.Error()
	}
	return &Problem{
		Schema: ProblemSchema, Code: Unreachable, Reason: reason, cause: err,
		Next: "start it (systemctl start starlingd, or starling agent), or name its socket with --addr",
	}
}
