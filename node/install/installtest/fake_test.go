package installtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/node/install"
	"github.com/starling-swarm/starling/node/update"
)

func TestFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New("slots", func(r manifest.Ref) Behaviour {
			return map[string]Behaviour{
				"dies":  {ExitAfter: time.Minute},
				"sick":  {UnwellAfter: time.Second},
				"stuck": {FailStart: "no such file", StartTakes: time.Second},
			}[r.Version]
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		of := func(s update.Slot, version string) install.Payload {
			return install.Payload{Slot: s, Release: manifest.Ref{Version: version}}
		}
		begin := time.Now()
		require.NoError(t, d.Activate(ctx, of(update.B, "dies"), false))
		require.Equal(t, install.Exit{Slot: update.B, Code: 1, Reason: "exit status 1"}, <-d.Exited())
		require.Equal(t, time.Minute, time.Since(begin))

		require.NoError(t, d.Activate(ctx, of(update.A, "sick"), false))
		require.NoError(t, d.Probe(ctx))
		time.Sleep(time.Second) // virtual
		require.ErrorIs(t, d.Probe(ctx), ErrFake)
		require.ErrorIs(t, d.Activate(ctx, of(update.B, "stuck"), false), ErrFake)
		f, err := d.Find(ctx)
		require.NoError(t, err)
		require.Equal(t, install.Found{Linked: true, Link: update.B, Slot: update.A}, f)

		require.NoError(t, d.Start(ctx, of(update.A, "well")))
		require.NoError(t, d.Commit(ctx, of(update.A, "well")))
		d.Crash()
		<-d.Exited()
		require.NoError(t, d.Start(ctx, of(update.A, "well")))
		d.PowerOff()
		_, running := d.Running()
		require.False(t, running)
		require.Len(t, d.Starts(), 4)
		cancel()
		require.NoError(t, <-done)
	})
}
