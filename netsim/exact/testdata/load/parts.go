package main

import (
	crand "crypto/rand"
	"fmt"
	"hash/maphash"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/starling-swarm/starling/netsim/exact"
)

var seedOfMaps = maphash.MakeSeed() // drawn in init, before any bubble

var keyOfInit = func() (k [8]byte) { crand.Read(k[:]); return k }()

// burn takes n steps of processor time and nothing else.
func burn(n int) uint64 {
	x := uint64(1)
	for range n {
		x = x*6364136223846793005 + 1442695040888963407
	}
	spent += x
	return x
}

var spent uint64 // so that the compiler keeps the work

func selects(t *exact.Writer) {
	chans := make([]chan int, 6)
	for i := range chans {
		chans[i] = make(chan int, 64)
		for j := range 64 {
			chans[i] <- j
		}
	}
	for range 200 {
		var from, v int
		select {
		case v = <-chans[0]:
			from = 0
		case v = <-chans[1]:
			from = 1
		case v = <-chans[2]:
			from = 2
		case v = <-chans[3]:
			from = 3
		case v = <-chans[4]:
			from = 4
		case v = <-chans[5]:
			from = 5
		}
		t.Event("select %d %d", from, v)
		chans[from] <- v
	}
}

func maps(t *exact.Writer) {
	byName, byPlace := map[string]int{}, map[*int]int{}
	for i := range 300 {
		byName[fmt.Sprint("robot-", i)] = i
		byPlace[new(int)] = i
	}
	for range 5 {
		for _, i := range byName {
			t.Event("name %d", i)
		}
		for _, i := range byPlace {
			t.Event("place %d", i)
		}
	}
}

func timers(t *exact.Writer) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(2)
		time.AfterFunc(time.Second, func() { t.Event("func %d", i); wg.Done() })
		go func() {
			defer wg.Done()
			select {
			case <-time.After(time.Second):
				t.Event("after %d", i)
			case <-time.NewTicker(time.Second).C:
				t.Event("tick %d", i)
			}
		}()
	}
	wg.Wait()
}

// mutexes hold a lock for about as long as makes a waiter starve, and take it
// again at once.
func mutexes(t *exact.Writer) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for j := range 12 {
				mu.Lock()
				burn(100_000 + 40_000*i)
				runtime.Gosched()
				t.Event("locked %d %d", i, j)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// spins compute for longer than the runtime lets anybody.
func spins(t *exact.Writer) {
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for j := range 40 {
				burn(1_000_000)
				t.Event("spin %d %d", i, j)
			}
		})
	}
	wg.Wait()
}

// crowd makes more goroutines runnable than a processor's own queue takes, while
// others yield: the global queue decides who is next.
func crowd(t *exact.Writer) {
	for round := range 5 {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 1000 {
			wg.Go(func() {
				<-start
				if i%3 == 0 {
					runtime.Gosched()
				}
				burn(5_000)
				if i%7 == 0 {
					runtime.Gosched()
				}
				t.Event("crowd %d %d", round, i)
			})
		}
		time.Sleep(time.Millisecond)
		close(start)
		wg.Wait()
	}
}

// files writes and reads back many files, each call a system call.
func files(t *exact.Writer) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			name := filepath.Join("state", fmt.Sprintf("r%d", i))
			for j := range 10 {
				f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
				if err == nil {
					_, err = f.Write(make([]byte, 4096))
				}
				if err == nil {
					err = f.Sync()
				}
				if err == nil {
					err = f.Close()
				}
				t.Event("wrote %d %d %v", i, j, err)
				time.Sleep(time.Duration(rand.Intn(3)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	list, err := os.ReadDir("state")
	t.Event("files %d %v", len(list), err)
}

func randoms(t *exact.Writer) {
	var key [16]byte
	for range 20 {
		crand.Read(key[:])
		t.Event("random %d %x", rand.Int63(), key)
	}
	t.Event("early %x %x", keyOfInit, maphash.String(seedOfMaps, "a map's hash"))
	dir, err := os.MkdirTemp("state", "tmp-")
	t.Event("temporary %s %v", dir, err)
}

// stuck never lets virtual time move, and calls nothing that could yield.
func stuck(*exact.Writer) {
	for burn(1) != 0 {
	}
}

// forever waits for what never comes.
func forever(*exact.Writer) { <-make(chan int) }
