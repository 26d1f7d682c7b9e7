package main

import (
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/exact"
)

// memory makes garbage with finalizers, pools and stacks that grow, with
// collections in between, and then looks at the order of fresh pointers.
func memory(t *exact.Writer) {
	pool := sync.Pool{New: func() any { t.Event("pool grows"); return new([512]byte) }}
	for i := range 10 {
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				p := pool.Get().(*[512]byte)
				runtime.Gosched()
				deep(100 + rand.Intn(100))
				pool.Put(p)
				runtime.SetFinalizer(new([64]byte), func(*[64]byte) { finalized++ })
			})
		}
		wg.Wait()
		exact.Quiet()
		places := map[any]int{}
		for j := range 50 {
			places[new([3]int)] = j
		}
		for _, j := range places {
			t.Event("memory %d %d %d", i, j, finalized)
		}
		time.Sleep(time.Second)
	}
}

var finalized int // by the runtime's goroutine, never while ours run

func deep(n int) byte {
	var room [128]byte
	if n == 0 {
		return room[0]
	}
	room[n%128] = deep(n - 1)
	return room[0]
}

// pages frees and takes whole pages, with collections and real time in between,
// and looks at the order of objects by address.
func pages(t *exact.Writer) {
	for i := range 20 {
		for range 64 {
			sink(make([]byte, 16<<10))
		}
		exact.Quiet()
		burn(2_000_000)
		places := map[any]int{}
		for j := range 20 { // above 8, or a map keeps the order of insertion
			places[new([5000]int)] = j
		}
		for _, j := range places {
			t.Event("page %d %d", i, j)
		}
	}
}

// types asks thousands of times what an interface holds, which fills the
// runtime's caches, and looks at the order of objects by address.
func types(t *exact.Writer) {
	values := []any{1, "a", 2.5, time.Second, time.Now(), errors.New("no"), &robot{}, []int{1}, [2]int{}, struct{}{}}
	for i := range 40 {
		done := make(chan int)
		go func() {
			n := 0
			for j := range 500 {
				switch v := values[j%len(values)].(type) {
				case fmt.Stringer:
					n++
				case error:
					n += len(v.Error())
				}
				if _, ok := values[(i+j)%len(values)].(interface{ Seconds() float64 }); ok {
					n++
				}
			}
			done <- n
		}()
		places := map[any]int{<-done: 0}
		for j := range 40 {
			places[new([12]*int)] = j
		}
		for _, j := range places {
			t.Event("type %d %d", i, j)
		}
		time.Sleep(time.Millisecond)
	}
}

// garbage allocates 1 GiB over 16 virtual seconds.
func garbage(*exact.Writer) {
	for range 16 {
		for range 1 << 10 {
			sink(make([]byte, 64<<10))
		}
		time.Sleep(time.Second)
		if collect {
			exact.Quiet()
		}
	}
}

var collect bool // see the flag quiet

// sink makes its argument escape to the heap.
func sink(b []byte) {
	held = b
	spent += uint64(len(held))
}

var held []byte
