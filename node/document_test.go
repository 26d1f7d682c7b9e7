package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// hosts are members that are asked for a document: how long each takes, and what
// comes of it.
type hosts []struct {
	takes time.Duration // 0: it never answers
	err   error
}

var errHasNot = errors.New("has it not")

// ask runs hedged over the hosts with a second between asks. It returns the first
// byte of the answer, how many were asked, how many at once at most, and how long it
// took.
func (h hosts) ask(ctx context.Context) (got byte, asked, most int, took time.Duration, err error) {
	var keys []envelope.Key
	for i := range h {
		keys = append(keys, envelope.Key{byte(i)})
	}
	at, now := time.Now(), 0
	calls := make(chan int, 2*len(h)) // +1 as one begins, -1 as it ends
	data, err := hedged(ctx, keys, time.Second, func(ctx context.Context, k envelope.Key) ([]byte, error) {
		calls <- 1
		defer func() { calls <- -1 }()
		does := h[k[0]]
		var done <-chan time.Time
		if does.takes > 0 {
			done = time.After(does.takes)
		}
		select {
		case <-done:
			return []byte{k[0]}, does.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	took = time.Since(at)
	close(calls) // nobody sends any more: all have ended
	for c := range calls {
		now += c
		if c > 0 {
			asked++
		}
		most = max(most, now)
	}
	if len(data) > 0 {
		got = data[0]
	}
	return got, asked, most, took, err
}

func TestDocumentsDoNotWaitForTheSlow(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		hosts hosts
		got   byte
		asked int
		most  int
		took  time.Duration
		fails bool
	}{
		{"the first has it", hosts{{takes: s / 2}, {takes: s}}, 0, 1, 1, s / 2, false},
		{"the first is silent", hosts{{}, {takes: s / 2}}, 1, 2, 2, s + s/2, false},
		{"the first is slow, and still first", hosts{{takes: 2 * s}, {takes: 5 * s}}, 0, 2, 2, 2 * s, false},
		{"who has it not is not waited for", hosts{{takes: s / 4, err: errHasNot}, {takes: s / 4, err: errHasNot}, {takes: s / 4}}, 2, 3, 1, 3 * s / 4, false},
		{"three at once and no more", hosts{{}, {}, {takes: 7 * s, err: errHasNot}, {takes: s}}, 3, 4, 3, 10 * s, false},
		{"nobody has it", hosts{{takes: s / 4, err: errHasNot}, {takes: 2 * s, err: errHasNot}}, 0, 2, 1, 9 * s / 4, true},
		{"nobody is there", hosts{}, 0, 0, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, asked, most, took, err := c.hosts.ask(t.Context())
				require.Equal(t, c.fails, err != nil, "%v", err)
				if c.fails && asked > 0 {
					require.ErrorIs(t, err, errHasNot)
				}
				require.Equal(t, []int{int(c.got), c.asked, c.most}, []int{int(got), asked, most})
				require.Equal(t, c.took, took)
			})
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			_, asked, _, took, err := hosts{{}, {}, {}, {}}.ask(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, 3, asked)
			require.Equal(t, 90*time.Second, took)
		})
	})
}
