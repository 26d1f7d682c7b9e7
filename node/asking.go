package node

import (
	"context"
	"sync"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

// asking lets each member be answered one document at a time. Its zero value is ready,
// and it is safe for concurrent use.
type asking struct {
	mu sync.Mutex // guards of; not held while anybody waits
	of map[envelope.Key]*asker
}

// An asker is a member that is being answered.
type asker struct {
	turn  chan struct{} // holds one token, taken by the answer that is made
	users int           // answers that are made or wait; at zero it is forgotten
}

// take waits until the member's other answers are done, and returns what ends this one.
// Its error is ctx's.
func (a *asking) take(ctx context.Context, k envelope.Key) (done func(), err error) {
	a.mu.Lock()
	if a.of == nil {
		a.of = map[envelope.Key]*asker{}
	}
	m := a.of[k]
	if m == nil {
		m = &asker{turn: make(chan struct{}, 1)}
		a.of[k] = m
	}
	m.users++
	a.mu.Unlock()
	select {
	case m.turn <- struct{}{}:
		return func() {
			<-m.turn
			a.leave(k, m)
		}, nil
	case <-ctx.Done():
		a.leave(k, m)
		return nil, ctx.Err()
	}
}

func (a *asking) leave(k envelope.Key, m *asker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.users--; m.users == 0 {
		delete(a.of, k)
	}
}
