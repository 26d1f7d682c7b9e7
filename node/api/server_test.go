package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/halt"
	"github.com/starling-swarm/starling/node/join"
)

// One operator and one robot: from an empty swarm to a revoked robot.
func TestASwarmThroughTheAPI(t *testing.T) {
	l := newLaptop(t, "")
	s, err := l.Status(l.ctx)
	require.NoError(t, err)
	require.True(t, s.Joined)
	require.Equal(t, "orchard-3", s.Swarm)
	require.True(t, s.Self.Operator)
	require.Equal(t, "no_voters", s.Warnings[0].Code)
	require.Contains(t, s.Quorum.Text, "4 robots that may vote")
	x, err := l.Explain(l.ctx, "")
	require.NoError(t, err)
	require.Equal(t, "no_voters", x.Code)

	r := l.robot("r01")
	_, err = l.Begin(l.ctx, 5)
	problem(t, api.Usage, err)
	_, err = l.Begin(l.ctx, 2)
	require.NoError(t, err)
	s = l.until("a leader", func(s *node.Status) bool { return s.Quorum.OK && s.Quorum.Leader != "" && s.Members.Alive == 2 })
	require.Equal(t, 2, s.Quorum.Need)
	require.Equal(t, uint32(1), s.Order.Generation)
	_, err = l.Begin(l.ctx, 2)
	require.Contains(t, problem(t, api.Usage, err).Reason, "has started already")

	t.Run("nodes", func(t *testing.T) {
		all, err := l.Nodes(l.ctx)
		require.NoError(t, err)
		require.Len(t, all.Nodes, 2)
		w, err := l.Node(l.ctx, "r01")
		require.NoError(t, err)
		require.Equal(t, "mk1", w.Labels["model"])
		require.True(t, w.Voter)
		_, err = l.Node(l.ctx, "r99")
		problem(t, api.Usage, err)
	})
	t.Run("labels reach the robot", func(t *testing.T) {
		_, err := l.SetLabels(l.ctx, "r01", map[string]string{"site": "north", "model": ""})
		require.NoError(t, err)
		v := r.View()
		for v.Roster.Epoch < 3 || v.Order == nil || v.Order.Roster != v.RosterRef {
			require.NoError(t, l.ctx.Err())
			changed := r.Changed()
			if v = r.View(); v.Roster.Epoch < 3 || v.Order == nil || v.Order.Roster != v.RosterRef {
				<-changed
			}
		}
		require.Equal(t, "north", v.Roster.Members[1].Labels["site"])
		require.NotContains(t, v.Roster.Members[1].Labels, "model")
		_, err = l.SetLabels(l.ctx, "r01", map[string]string{"platform": "vax"})
		problem(t, api.Usage, err)
	})
	t.Run("trust", func(t *testing.T) { publishTrust(t, l) })
	t.Run("decisions", func(t *testing.T) { refuseDecisions(t, l) })
	t.Run("halt", func(t *testing.T) { haltAll(t, l, r) })
	t.Run("revoke", func(t *testing.T) {
		_, err := l.Revoke(l.ctx, "op")
		require.Contains(t, problem(t, api.Usage, err).Reason, "this node")
		before := l.n.RosterBytes()
		out, err := l.Revoke(l.ctx, "r01")
		require.NoError(t, err)
		require.True(t, out.WasVoter)
		require.NotEqual(t, before, l.n.RosterBytes())
		w, err := l.Node(l.ctx, "r01")
		require.NoError(t, err)
		require.True(t, w.Revoked)
		x, err := l.Explain(l.ctx, "r01")
		require.NoError(t, err)
		require.Equal(t, "revoked", x.Code)
		require.Equal(t, uint32(2), l.n.View().Roster.GossipKey)
	})
}

func publishTrust(t *testing.T, l *laptop) {
	now, err := l.Trust(l.ctx)
	require.NoError(t, err)
	b, err := trust.DecodeBundle(now)
	require.NoError(t, err)
	next, err := trust.Renew(b, l.signers(), time.Now())
	require.NoError(t, err)
	out, err := l.PublishTrust(l.ctx, next.Encode())
	require.NoError(t, err)
	require.True(t, out.Published, out.Text)
	all, err := l.Releases(l.ctx)
	require.NoError(t, err)
	require.Equal(t, next.Digest().String(), all.Trust.Digest)
	require.True(t, all.Trust.Published)

	_, err = l.PublishTrust(l.ctx, now)
	problem(t, api.Refused, err)
	_, err = l.PublishTrust(l.ctx, []byte("not a bundle"))
	problem(t, api.Usage, err)
}

func refuseDecisions(t *testing.T, l *laptop) {
	_, err := l.Propose(l.ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindAdvance})
	problem(t, api.Usage, err)
	in := rollout.Intent{Format: rollout.IntentFormat, Swarm: "orchard-3", Counter: 1, Verb: rollout.VerbPause, Rollout: 7}
	_, err = l.Propose(l.ctx, &rollout.Decision{Format: rollout.DecisionFormat, Kind: rollout.KindIntent, Intent: in.Seal().Sign(l.operator).Encode()})
	p := problem(t, api.Refused, err)
	require.NotEmpty(t, p.Next)
	_, err = l.Rollout(l.ctx, 7)
	problem(t, api.Usage, err)
}

// haltAll halts the swarm, sees the robot halted, and ends the halt.
func haltAll(t *testing.T, l *laptop, r *node.Node) {
	halted := func(on bool) {
		for r.View().Halted != on {
			changed := r.Changed()
			if r.View().Halted == on {
				return
			}
			select {
			case <-changed:
			case <-l.ctx.Done():
				require.Fail(t, "the robot was not told")
			}
		}
	}
	token := func(counter uint64, on bool, by *laptop) []byte {
		k := halt.Token{Format: halt.Format, Swarm: "orchard-3", Counter: counter, Halted: on, Reason: "a person on the field"}
		return k.Seal().Sign(by.operator).Encode()
	}
	stranger := &laptop{operator: newKey(t)}
	_, err := l.Halt(l.ctx, token(1, true, stranger))
	problem(t, api.BadSignature, err)
	out, err := l.Halt(l.ctx, token(2, true, l))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"op", "r01"}, out.Told)
	halted(true)
	s, err := l.Status(l.ctx)
	require.NoError(t, err)
	require.True(t, s.Halted)
	require.Equal(t, "halted", s.Warnings[0].Code)
	x, err := l.Explain(l.ctx, "r01")
	require.NoError(t, err)
	require.Equal(t, "halted", x.Code)
	_, err = l.Halt(l.ctx, token(1, false, l))
	problem(t, api.Refused, err)
	_, err = l.Halt(l.ctx, token(3, false, l))
	require.NoError(t, err)
	halted(false)
}

func TestInvitesAreWhatWasAskedFor(t *testing.T) {
	l := newLaptop(t, "")
	asked := time.Now()
	i, err := l.Invite(l.ctx, node.InviteRequest{
		Labels: map[string]string{"site": "north"}, Uses: 5, Seconds: 60, Role: "base", NoVote: true, Addresses: []string{"op.local:7947"},
	})
	require.NoError(t, err)
	again, err := join.Parse(i.Encode())
	require.NoError(t, err)
	require.Equal(t, i, again)
	require.Equal(t, member.Base, i.Role)
	require.Equal(t, 5, i.Uses)
	require.False(t, i.Expires.Before(asked.Add(time.Minute).Truncate(time.Second)), i.Expires)
	require.False(t, i.Expires.After(time.Now().Add(time.Minute)), i.Expires)

	for name, q := range map[string]node.InviteRequest{
		"a role":      {Role: "admiral"},
		"for ever":    {Seconds: 1 << 40},
		"an address":  {Addresses: []string{"op.local"}},
		"its own key": {Labels: map[string]string{"platform": "vax"}},
	} {
		_, err := l.Invite(l.ctx, q)
		require.NotEmpty(t, problem(t, api.Usage, err).Reason, name)
	}
}

func TestWhoIsLetInAndHowMuch(t *testing.T) {
	l := newLaptop(t, "")
	send := func(method, path, body string, change func(*http.Request)) (int, api.Problem) {
		req, err := http.NewRequestWithContext(l.ctx, method, "http://localhost"+path, strings.NewReader(body))
		require.NoError(t, err)
		if change != nil {
			change(req)
		}
		resp, err := bare(l.socket).Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var p api.Problem
		if resp.StatusCode != http.StatusOK {
			require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			require.NoError(t, json.Unmarshal(data, &p))
			require.NotEmpty(t, p.Reason)
		}
		return resp.StatusCode, p
	}
	status, _ := send("GET", "/v1/health", "", func(r *http.Request) { r.Host = "127.0.0.1:7940" })
	require.Equal(t, http.StatusOK, status)
	status, p := send("GET", "/v1/status", "", func(r *http.Request) { r.Host = "evil.example" })
	require.Equal(t, http.StatusMisdirectedRequest, status)
	require.Equal(t, api.Refused, p.Code)
	status, p = send("POST", "/v1/rollback", "{}", func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") })
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, api.Refused, p.Code)
	status, _ = send("GET", "/v2/status", "", nil)
	require.Equal(t, http.StatusNotFound, status)
	status, _ = send("POST", "/v1/halt", strings.Repeat("x", 64<<10), nil)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	status, _ = send("POST", "/v1/trust", strings.Repeat("x", 2<<20), nil)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	status, p = send("POST", "/v1/begin", `{"votres":2}`, nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, p.Reason, "votres")
	status, _ = send("GET", "/v1/events?since=yesterday", "", nil)
	require.Equal(t, http.StatusBadRequest, status)
	status, p = send("GET", "/v1/gate?component=app", "", nil)
	require.Equal(t, http.StatusBadRequest, status, "an operator's node has no payload")
	require.Equal(t, api.Usage, p.Code)
}

func TestANodeThatHasNotJoinedSaysSo(t *testing.T) {
	i, err := join.New(join.Invite{
		Swarm: "orchard-3", Root: [32]byte{1}, Operator: [32]byte{2}, Addrs: []string{"127.0.0.1:1"}, Expires: time.Now().Add(time.Hour), Uses: 1,
	})
	require.NoError(t, err)
	cfg := loopback(t.TempDir())
	cfg.Invite = i
	_, socket := start(t, t.Context(), cfg)
	c := api.Dial(socket)
	defer c.Close()
	s, err := c.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Joined)
	require.Contains(t, s.Text, "orchard-3")
	require.Equal(t, "not_joined", s.Warnings[0].Code)
	_, err = c.Trust(t.Context())
	problem(t, api.Unreachable, err)
	_, err = c.Halt(t.Context(), bytes.Repeat([]byte{1}, 10))
	problem(t, api.Unreachable, err)
	_, err = c.Invite(t.Context(), node.InviteRequest{})
	problem(t, api.Refused, err)
	x, err := c.Explain(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "not_joined", x.Code)
}

func TestNobodyAnswers(t *testing.T) {
	_, err := api.Dial(t.TempDir() + "/none.sock").Status(t.Context())
	p := problem(t, api.Unreachable, err)
	require.Equal(t, 7, api.ExitCode(err))
	require.Contains(t, p.Reason, "none.sock")
	require.NotEmpty(t, p.Next)
}
