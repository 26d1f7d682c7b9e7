package main

import (
	crand "crypto/rand"
	"math/rand"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/exact"
)

// robot gossips: it probes a random peer every 200 ms, passes rumours on with a
// random delay, and gives up on silent peers.
type robot struct {
	id     int
	in     chan packet
	rumour chan int
	stop   chan struct{}
	all    []*robot

	mu   sync.Mutex
	seen map[int]time.Time
}

type packet struct {
	from   int
	kind   string
	rumour int
	nonce  [4]byte
}

// swarm runs 40 robots for 8 virtual seconds.
func swarm(t *exact.Writer) {
	stop := make(chan struct{})
	all := make([]*robot, 40)
	for i := range all {
		all[i] = &robot{id: i, in: make(chan packet, 32), rumour: make(chan int, 8), stop: stop, all: all,
			seen: map[int]time.Time{}}
	}
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() { r.live(t) })
	}
	for k := range 4 {
		for _, r := range all {
			r.rumour <- k
		}
		time.Sleep(2 * time.Second)
		exact.Quiet()
	}
	close(stop)
	wg.Wait()
}

func (r *robot) live(t *exact.Writer) {
	probe := time.NewTicker(200 * time.Millisecond)
	defer probe.Stop()
	suspect := time.NewTimer(500 * time.Millisecond)
	for {
		select {
		case p := <-r.in:
			t.Event("%d got %s from %d %x", r.id, p.kind, p.from, p.nonce)
			r.note(p.from)
			if p.kind == "ping" {
				r.send(p.from, "ack", 0)
			}
			suspect.Reset(500 * time.Millisecond)
		case k := <-r.rumour:
			for range 3 {
				r.send(rand.Intn(len(r.all)), "rumour", k)
			}
		case <-probe.C:
			r.send(rand.Intn(len(r.all)), "ping", 0)
		case <-suspect.C:
			t.Event("%d suspects %d", r.id, r.oldest())
			suspect.Reset(500 * time.Millisecond)
		case <-r.stop:
			return
		}
	}
}

func (r *robot) note(from int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[from] = time.Now()
}

// oldest depends on the map's order where times are equal.
func (r *robot) oldest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, id := time.Now(), -1
	for i, s := range r.seen {
		if s.Before(at) {
			at, id = s, i
		}
	}
	return id
}

// send loses one packet of twenty and delays the others; jitter is in steps of a
// millisecond, so that many arrive at one instant.
func (r *robot) send(to int, kind string, rumour int) {
	p := packet{from: r.id, kind: kind, rumour: rumour}
	crand.Read(p.nonce[:])
	if rand.Intn(20) == 0 {
		return
	}
	in := r.all[to].in
	time.AfterFunc(time.Duration(1+rand.Intn(4))*time.Millisecond, func() {
		select {
		case in <- p:
		default:
		}
	})
}
