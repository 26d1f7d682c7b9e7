package node

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/store"
)

// An import that the disk has no room for leaves nothing that would be called damaged.
func TestARefusedImportLeavesNothing(t *testing.T) {
	s := newSwarm(t, 0)
	star := filepath.Join(s.dir, "1.0.0.star")
	s.build("1.0.0", star)
	s.op.stop()
	<-s.op.gone
	cfg := s.op.cfg
	cfg.ReserveBytes = 1 << 60
	s.op = s.start(cfg)
	s.wait("operator ready", func() bool { return s.op.taking() })
	_, err := s.op.Import(s.ctx, star)
	require.ErrorIs(t, err, store.ErrFull)
	c, err := s.op.VerifyStore(s.ctx)
	require.NoError(t, err)
	require.True(t, c.OK, c.Text)
}

// An image whose folder somebody deleted is not said to be here: an import brings it back.
func TestAnImportBringsBackWhatWasDeleted(t *testing.T) {
	s := newSwarm(t, 0, "1.0.0")
	all, err := s.op.Stored()
	require.NoError(t, err)
	require.Len(t, all.Images, 1)
	dir, _ := s.op.imagePaths(all.Images[0].Image)
	require.NoError(t, store.Remove(dir))
	_, err = s.op.Import(s.ctx, filepath.Join(s.dir, "1.0.0.star"))
	require.NoError(t, err)
	c, err := s.op.VerifyStore(s.ctx)
	require.NoError(t, err)
	require.True(t, c.OK, c.Text)
	require.Len(t, c.Images, 1)
	require.DirExists(t, dir)
}
