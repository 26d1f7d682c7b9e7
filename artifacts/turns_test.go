package artifacts

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/schedule"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		came := func(c <-chan struct{}) bool {
			synctest.Wait()
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		var first [maxTurns]func()
		for i := range first {
			var c <-chan struct{}
			c, first[i] = all.ask()
			require.True(t, came(c))
		}
		a, endA := all.ask()
		b, endB := all.ask()
		c, endC := all.ask()
		require.Equal(t, []bool{false, false, false}, []bool{came(a), came(b), came(c)})
		first[0]()
		first[0]()
		require.Equal(t, []bool{true, false, false}, []bool{came(a), came(b), came(c)}, "who waits the longest is next")
		endB() // has given up waiting
		require.False(t, came(c))
		endA()
		require.True(t, came(c))
		require.False(t, came(b))
		d, endD := all.ask()
		time.Sleep(longTurn - time.Millisecond)
		require.False(t, came(d))
		time.Sleep(2 * time.Millisecond)
		require.True(t, came(d), "a turn that lasts too long is over")
		for _, end := range append(first[:], endC, endD) {
			end()
		}
		require.Zero(t, all.taken)
		require.Empty(t, all.queue)
	})
}

func TestTurnsAreShorterIfManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		var last <-chan struct{}
		began := time.Now()
		for range MaxServed {
			last, _ = all.ask() // nobody ever ends a turn
		}
		<-last
		require.LessOrEqual(t, time.Since(began), allTurns)
		time.Sleep(longTurn)
		synctest.Wait()
		require.Zero(t, all.taken)
		require.Less(t, allTurns, schedule.MinPatience)
	})
}
