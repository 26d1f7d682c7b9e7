package member_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/canonical/vector"
	"github.com/starling-swarm/starling/artifacts/envelope"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/gossip/member"
)

func health() *member.Health {
	return &member.Health{
		Format: member.HealthFormat, Robot: 2, Boot: 77, Sequence: 1009, Component: "nav",
		Release: manifest.Sum([]byte("1.5.0")), Running: manifest.Sum([]byte("1.4.1")), Phase: member.Reverted, Result: member.Failed,
		Healthy: 4711, Progress: 1000, Generation: 1, Order: 42, Crashes: 3, Failures: 9, Leaving: true, Held: true, Level: 1,
		Reason: "probe motor: 3 of 3 failed", Metrics: []member.Metric{{Name: "battery", Value: -805, Scale: 3}},
	}
}

func keyOf(i member.Index) envelope.Key {
	if i > 9 {
		return envelope.Key{}
	}
	return pub(int(i))
}

func TestHealthVector(t *testing.T) {
	data := vector.Check(t, "health", "health envelope of member 2 with every field set", health().Seal(swarm).Sign(key(2)).Encode())
	h, e, err := member.OpenHealth(data, swarm, keyOf)
	require.NoError(t, err)
	require.Equal(t, health(), h)
	require.Equal(t, data, e.Encode())
	plain := &member.Health{Format: 1, Component: "app", Level: 1}
	data = vector.Check(t, "health-plain", "health envelope of member 0 with every optional field absent", plain.Seal(swarm).Sign(key(0)).Encode())
	h, _, err = member.OpenHealth(data, swarm, keyOf)
	require.NoError(t, err)
	require.Equal(t, plain, h)
}

func TestOpenHealthRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		bend   func(*member.Health)
		signer int
		swarm  string
		want   error
	}{
		"format":          {bend: func(h *member.Health) { h.Format = 2 }, want: member.ErrInvalid},
		"phase":           {bend: func(h *member.Health) { h.Phase = member.Phase(member.Phases) }, want: member.ErrInvalid},
		"result":          {bend: func(h *member.Health) { h.Result = member.Failed + 1 }, want: member.ErrInvalid},
		"progress":        {bend: func(h *member.Health) { h.Progress = 1001 }, want: member.ErrInvalid},
		"reason":          {bend: func(h *member.Health) { h.Reason = strings.Repeat("x", member.MaxReason+1) }, want: member.ErrInvalid},
		"component":       {bend: func(h *member.Health) { h.Component = "" }, want: member.ErrInvalid},
		"four metrics":    {bend: func(h *member.Health) { h.Metrics = make([]member.Metric, 4) }, want: member.ErrInvalid},
		"metric name":     {bend: func(h *member.Health) { h.Metrics[0].Name = "" }, want: member.ErrInvalid},
		"metric long":     {bend: func(h *member.Health) { h.Metrics[0].Name = strings.Repeat("x", 13) }, want: member.ErrInvalid},
		"metric scale":    {bend: func(h *member.Health) { h.Metrics[0].Scale = 10 }, want: member.ErrInvalid},
		"unknown member":  {bend: func(h *member.Health) { h.Robot = 10 }, want: envelope.ErrUnsigned},
		"of another":      {signer: 3, want: envelope.ErrUnsigned},
		"another's index": {bend: func(h *member.Health) { h.Robot = 3 }, want: envelope.ErrUnsigned},
		"another swarm":   {swarm: "south", want: envelope.ErrKind},
	} {
		t.Run(name, func(t *testing.T) {
			h, signer, s := health(), 2, swarm
			if c.bend != nil {
				c.bend(h)
			}
			if c.signer != 0 {
				signer = c.signer
			}
			if c.swarm != "" {
				s = c.swarm
			}
			got, e, err := member.OpenHealth(h.Seal(swarm).Sign(key(signer)).Encode(), s, keyOf)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, got)
			require.Nil(t, e)
		})
	}
}

// DESIGN.md §5: a health report is at most 512 bytes, whatever it says and in the
// swarm with the longest name.
func TestHealthSize(t *testing.T) {
	h := &member.Health{
		Format: 1, Robot: math.MaxUint16, Boot: math.MaxUint64, Sequence: math.MaxUint64, Component: strings.Repeat("c", 32),
		Release: manifest.Sum(nil), Running: manifest.Sum(nil), Phase: member.Reverted, Result: member.Failed, Healthy: math.MaxUint32,
		Progress: 1000, Generation: math.MaxUint32, Order: math.MaxUint64, Crashes: math.MaxUint16, Failures: math.MaxUint16,
		Leaving: true, Held: true, Level: math.MaxUint, Reason: strings.Repeat("r", member.MaxReason),
	}
	for range member.MaxMetrics {
		h.Metrics = append(h.Metrics, member.Metric{Name: strings.Repeat("m", 12), Value: math.MinInt64, Scale: 9})
	}
	require.NoError(t, h.Check())
	long := strings.Repeat("s", member.MaxSwarmBytes)
	data := h.Seal(long).Sign(key(2)).Encode()
	require.LessOrEqual(t, len(data), 512)
	_, _, err := member.OpenHealth(data, long, func(member.Index) envelope.Key { return pub(2) })
	require.NoError(t, err)
}

func TestTableAgainstList(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		table := member.NewTable()
		var merged []member.Health
		for n := range 200 {
			h := member.Health{Robot: member.Index(r.IntN(3)), Component: fmt.Sprintf("c%d", r.IntN(2)), Sequence: uint64(r.IntN(60)), Result: member.Result(r.IntN(4)), Order: uint64(n)}
			want := true
			for _, old := range merged {
				want = want && (old.Robot != h.Robot || old.Component != h.Component || old.Sequence < h.Sequence)
			}
			require.Equal(t, want, table.Merge(&h, []byte{byte(n)}), "seed %d report %d", seed, n)
			if want {
				merged = append(merged, h)
			}
		}
		rows := 0
		for i := range member.Index(3) {
			for _, c := range []string{"c0", "c1"} {
				var newest, failed *member.Health
				for k := range merged {
					if h := &merged[k]; h.Robot == i && h.Component == c {
						newest = h
						if h.Result == member.Failed {
							failed = h
						}
					}
				}
				got, ok := table.Newest(i, c)
				require.Equal(t, newest != nil, ok)
				if ok {
					rows++
					require.Equal(t, *newest, got.Health)
					require.Equal(t, []byte{byte(newest.Order)}, got.Sealed)
				}
				got, ok = table.Failure(i, c)
				require.Equal(t, failed != nil, ok)
				if ok {
					require.Equal(t, *failed, got.Health)
				}
			}
		}
		all := table.All()
		require.Len(t, all, rows)
		for i := 1; i < len(all); i++ {
			a, b := all[i-1], all[i]
			require.True(t, a.Robot < b.Robot || (a.Robot == b.Robot && a.Component < b.Component))
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	table := member.NewTable()
	for i := range 1000 {
		h := member.Health{Robot: 4, Component: fmt.Sprintf("c%d", i), Sequence: 1, Result: member.Failed}
		require.Equal(t, i < member.MaxComponents, table.Merge(&h, nil), "component %d", i)
	}
	require.Len(t, table.All(), member.MaxComponents)
	_, ok := table.Failure(4, "c999")
	require.False(t, ok)
	require.True(t, table.Merge(&member.Health{Robot: 4, Component: "c0", Sequence: 2}, nil), "a known component goes on")
	require.True(t, table.Merge(&member.Health{Robot: 5, Component: "c999", Sequence: 1}, nil), "another member has its own room")
}

func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for p := range member.Phase(member.Phases) {
		require.False(t, seen[p.String()], p.String())
		seen[p.String()] = true
	}
	require.Equal(t, "reverted", member.Reverted.String())
	require.Equal(t, "phase 10", member.Phase(10).String())
	require.Equal(t, "unknown good deferred failed result 9", fmt.Sprint(member.Unknown, member.Good, member.Deferred, member.Failed, member.Result(9)))
}

// FuzzHealth fuzzes the body behind a right signature, and the envelope around it.
func FuzzHealth(f *testing.F) {
	f.Add(canonical.Encode(health()))
	f.Add(canonical.Encode(&member.Health{}))
	f.Add(health().Seal(swarm).Sign(key(2)).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		e := &envelope.Envelope{Envelope: 1, Kind: envelope.Health, Format: 1, Scope: envelope.SwarmScope(swarm), Body: data}
		for _, sealed := range [][]byte{data, e.Sign(key(2)).Encode()} {
			h, e, err := member.OpenHealth(sealed, swarm, keyOf)
			if err != nil {
				require.Nil(t, h)
				continue
			}
			require.Equal(t, sealed, e.Encode())
			if !bytes.Equal(canonical.Encode(h), e.Body) {
				t.Fatalf("%x has a second spelling", e.Body)
			}
		}
	})
}
