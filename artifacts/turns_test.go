package artifacts

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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
		a, endA := all.ask()
		b, _ := all.ask()
		c, endC := all.ask()
		d, endD := all.ask()
		e, endE := all.ask()
		require.Equal(t, []bool{true, true, false, false, false}, []bool{came(a), came(b), came(c), came(d), came(e)})
		endA()
		endA()
		require.Equal(t, []bool{true, false, false}, []bool{came(c), came(d), came(e)}, "who waits the longest is next")
		endD() // has given up waiting
		require.False(t, came(e))
		endC()
		require.True(t, came(e))
		require.False(t, came(d))
		f, endF := all.ask()
		time.Sleep(turnTime - time.Millisecond)
		require.False(t, came(f))
		time.Sleep(2 * time.Millisecond)
		require.True(t, came(f), "a turn that lasts too long is over")
		endE()
		endF()
		require.Zero(t, all.taken)
		require.Empty(t, all.queue)
	})
}
