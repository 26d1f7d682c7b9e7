package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatermark(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		w                  Watermark
		free, disk, images int64
		want               int64
	}{
		"share below":           {Watermark{Permille: 850}, 200_000, 1_000_000, 500_000, -50_000},
		"share above":           {Watermark{Permille: 850}, 100_000, 1_000_000, 0, 50_000},
		"bytes below":           {Watermark{Bytes: 20 * gib}, 0, 1, 19 * gib, -gib},
		"bytes above":           {Watermark{Bytes: 20 * gib}, gib, gib, 23 * gib, 3 * gib},
		"disk of many exbibyte": {Watermark{Permille: 999}, 1 << 62, 1 << 62, 0, (1 << 62) / 1000 * -999},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, c.w.over(c.free, c.disk, c.images))
		})
	}
	require.True(t, Watermark{}.IsZero())
}
