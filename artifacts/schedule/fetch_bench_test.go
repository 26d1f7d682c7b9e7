package schedule

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// BenchmarkFetch plays whole fetches of 512 pieces from peers that have everything and
// answer at once: what one decision costs.
func BenchmarkFetch(b *testing.B) {
	for _, peers := range []int{4, 10} {
		b.Run(fmt.Sprintf("%d-peers", peers), func(b *testing.B) {
			sizes := make([]int64, manifest.TargetPieces)
			all := manifest.NewBitmap(len(sizes))
			for i := range sizes {
				sizes[i] = manifest.MinPieceBytes
				all = all.With(i)
			}
			b.ReportAllocs()
			now := time.Unix(0, 0)
			asked := 0
			for b.Loop() {
				f := NewFetch(sizes, nil, rand.New(rand.NewPCG(1, 2)))
				for p := range peers {
					f.Join(Peer(fmt.Sprint(p)), all, false)
				}
				for !f.Done() {
					for _, a := range f.Next(now) {
						now = now.Add(time.Millisecond)
						f.Got(a.Peer, a.Piece, now)
						asked++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(asked), "ns/piece")
		})
	}
}

// BenchmarkOffers plays a seed's side of the same: what one offer costs.
func BenchmarkOffers(b *testing.B) {
	for _, peers := range []int{4, 64} {
		b.Run(fmt.Sprintf("%d-peers", peers), func(b *testing.B) {
			b.ReportAllocs()
			all := manifest.NewBitmap(manifest.TargetPieces)
			for i := range manifest.TargetPieces {
				all = all.With(i)
			}
			offered := 0
			for b.Loop() {
				o := NewOffers(manifest.TargetPieces, rand.New(rand.NewPCG(1, 2)))
				o.Mine(all)
				for p := range peers {
					o.Join(Peer(fmt.Sprint(p)), nil)
				}
				for offers := o.Next(); len(offers) > 0; offers = o.Next() {
					for _, of := range offers {
						o.Has(of.Peer, []uint32{uint32(of.Piece)})
						offered++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(offered), "ns/offer")
		})
	}
}
