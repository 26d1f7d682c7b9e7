package node

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/artifacts/trust"
	"github.com/starling-swarm/starling/node/join"
)

// exportTo writes a release into a file.
func (s *swarm) exportTo(rel *manifest.Release, path string) {
	e, err := s.op.Export(s.ctx, rel.Component, rel.Version, true)
	require.NoError(s.t, err)
	var out bytes.Buffer
	require.NoError(s.t, e.Write(s.ctx, &out))
	require.NoError(s.t, e.Close())
	require.NoError(s.t, os.WriteFile(path, out.Bytes(), 0o600))
}

// forget removes the pack between two images from the operator's node, if it is there.
func (s *swarm) forget(from, to manifest.Digest) {
	x, err := s.op.heldNotice(s.op.View(), from, to)
	if err != nil {
		return
	}
	require.NoError(s.t, s.op.removeHalf(x.Pack))
	require.NoError(s.t, os.Remove(s.op.docs.file(join.DeltaDocument, delta.Name(from, to))))
}

// A robot that is given a file with a pack hands it to those beside it; nobody else has it.
func TestAPackComesInAFile(t *testing.T) {
	if testing.Short() {
		t.Skip("two whole rollouts")
	}
	t.Parallel()
	s := newSwarm(t, 4, "1.0.0")
	s.wait("all on 1.0.0", s.all("1.0.0"))
	old, star := s.buildProgram("1.1.0", 0)
	s.update(old, star, nil)
	fresh, star := s.buildProgram("1.3.0", 0x1a40)
	from, to := old.Variants[0].Manifest, fresh.Variants[0].Manifest
	s.update(fresh, star, func() {
		packs, err := s.op.Pack(s.ctx, old.Digest(), fresh.Digest())
		require.NoError(t, err)
		require.Len(t, packs.Packs, 1)
		carried := filepath.Join(s.dir, "carried.star")
		s.exportTo(fresh, carried)
		s.forget(from, to)
		require.NoError(t, s.op.removeImage(to))
		b, err := bundle.Open(carried)
		require.NoError(t, err)
		defer b.Close()
		whole, err := b.Manifest(to)
		require.NoError(t, err)
		room := func() int64 {
			need, err := s.robots[0].needOf(b)
			require.NoError(t, err)
			return need
		}
		require.Equal(t, store.Need(whole, nil)+b.Packs()[0].Bytes(), room())
		in, err := s.robots[0].Import(s.ctx, carried)
		require.NoError(t, err)
		require.Equal(t, 1, in.Packs)
		require.Contains(t, in.Text, "packs that lead to it: 1")
		require.Equal(t, b.Packs()[0].Bytes(), room(), "the image is here")
	})
	require.Equal(t, 3, s.noted("patched"), "all but the one that has the image from the file")
	st, held := s.robots[0].exchange.Stats(to)
	require.True(t, held)
	require.Zero(t, st.SentBytes, "no robot needed a chunk of the image")
	// Who used the pack carries it on.
	e, err := s.robots[1].Export(s.ctx, "app", "1.3.0", true)
	require.NoError(t, err)
	defer e.Close()
	plain, err := s.robots[1].Export(s.ctx, "app", "1.3.0", false)
	require.NoError(t, err)
	defer plain.Close()
	require.Greater(t, e.Bytes(), plain.Bytes())
}

// packOf is what a pack of these bytes travels as.
func packOf(t *testing.T, data []byte) bundle.Held {
	dir := t.TempDir()
	in, star := filepath.Join(dir, delta.PackFile), filepath.Join(dir, "x.star")
	require.NoError(t, os.WriteFile(in, data, 0o600))
	_, err := bundle.Build(t.Context(), bundle.Spec{
		Component: "app", Version: "0", Counter: 1, Variants: []bundle.VariantSpec{{Name: "all", Path: in, Driver: "dirslot"}},
	}, newKey(t), star, nil)
	require.NoError(t, err)
	b, err := bundle.Open(star)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	out, err := b.Image(b.Release().Variants[0].Manifest)
	require.NoError(t, err)
	return out
}

// Whatever is wrong with the packs in a file, its release is imported, and nothing of
// the pack stays.
func TestWrongPacksInAFileAreLeftOut(t *testing.T) {
	s := newSwarm(t, 0, "1.0.0")
	sign := func(version string, shift uint32) (*manifest.Release, string) {
		rel, star := s.buildProgram(version, shift)
		_, err := s.op.Import(s.ctx, star)
		require.NoError(t, err)
		b, err := trust.Publish(s.op.View().Trust.Bundle(), []*manifest.Release{rel}, s.signers(), time.Now())
		require.NoError(t, err)
		require.NoError(t, s.op.keeper.offerOwn(s.ctx, &join.MetaReply{Trust: b.Encode()}))
		return rel, star
	}
	old, _ := sign("1.1.0", 0)
	fresh, freshStar := sign("1.3.0", 0x1a40)
	other, _ := sign("1.5.0", 0x2b50)
	from, to := old.Variants[0].Manifest, fresh.Variants[0].Manifest
	image := func(rel *manifest.Release) (*delta.Notice, []byte, *bundle.PackImage) {
		_, err := s.op.Pack(s.ctx, old.Digest(), rel.Digest())
		require.NoError(t, err)
		path := filepath.Join(s.dir, "carried-"+rel.Version+".star")
		s.exportTo(rel, path)
		b, err := bundle.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		require.Len(t, b.Packs(), 1, "those that lead to this release, and no others")
		img, err := b.Packs()[0].Image()
		require.NoError(t, err)
		x, err := s.op.heldNotice(s.op.View(), from, rel.Variants[0].Manifest)
		require.NoError(t, err)
		return x, b.Packs()[0].Notice(), img
	}
	x, notice, img := image(fresh)
	_, otherNotice, otherImg := image(other)
	s.forget(from, other.Variants[0].Manifest)
	sealed := func(root manifest.Digest, key ed25519.PrivateKey, change func(*delta.Notice)) []byte {
		c := *x
		change(&c)
		return c.Seal(root, key).Encode()
	}
	same, root := func(*delta.Notice) {}, s.op.View().Root
	unsigned := x.Seal(root, s.operator)
	unsigned.Signatures = nil

	inside := make([]byte, img.Manifest().Bytes())
	_, err := delta.NewReader(img).ReadAt(inside, 0)
	require.NoError(t, err)
	changed := bytes.Clone(inside)
	changed[len(changed)/2] ^= 1
	long := packOf(t, program(400<<10, 0)) // of several chunks, whatever it makes
	longNotice := sealed(root, s.operator, func(n *delta.Notice) { n.Pack, n.Bytes = long.Manifest().Digest(), 400<<10 })

	good := bundle.Carried{Notice: notice, Image: img}
	b, err := bundle.Open(freshStar)
	require.NoError(t, err)
	defer b.Close()
	whole, err := b.Image(to)
	require.NoError(t, err)
	for _, c := range []struct {
		name      string
		packs     []bundle.Carried
		here, not int
		damage    bool // in the last byte of the last pack
	}{
		{name: "as it should be", packs: []bundle.Carried{good}, here: 1},
		{name: "twice the same", packs: []bundle.Carried{good, good}, here: 1},
		{name: "one wrong, one right", packs: []bundle.Carried{{Notice: otherNotice, Image: otherImg}, good}, here: 1, not: 1},
		{name: "wrong and right between the same images", packs: []bundle.Carried{{Notice: notice, Image: otherImg}, good}, here: 1},
		{name: "no notice", packs: []bundle.Carried{{Image: img}}, not: 1},
		{name: "unsigned", packs: []bundle.Carried{{Notice: unsigned.Encode(), Image: img}}, not: 1},
		{name: "signed by the owner, who plans nothing", packs: []bundle.Carried{{Notice: sealed(root, s.owner, same), Image: img}}, not: 1},
		{name: "signed by a stranger", packs: []bundle.Carried{{Notice: sealed(root, newKey(t), same), Image: img}}, not: 1},
		{name: "signed for other swarms", packs: []bundle.Carried{{Notice: sealed(manifest.Sum(nil), s.operator, same), Image: img}}, not: 1},
		{name: "of another release", packs: []bundle.Carried{{Notice: otherNotice, Image: otherImg}}, not: 1},
		{name: "of another release by its bytes", packs: []bundle.Carried{{Notice: notice, Image: otherImg}}, not: 1},
		{name: "truncated", packs: []bundle.Carried{{Notice: notice, Image: packOf(t, inside[:len(inside)-100])}}, not: 1},
		{name: "changed", packs: []bundle.Carried{{Notice: notice, Image: packOf(t, changed)}}, not: 1},
		{name: "the image itself", packs: []bundle.Carried{{Notice: notice, Image: whole}}, not: 1},
		{name: "not so long", packs: []bundle.Carried{{Notice: sealed(root, s.operator, func(n *delta.Notice) { n.Bytes-- }), Image: img}}, not: 1},
		{name: "damaged", packs: []bundle.Carried{good}, damage: true, not: 1},
		{name: "damaged at its end", packs: []bundle.Carried{{Notice: longNotice, Image: long}}, damage: true, not: 1},
	} {
		s.forget(from, to)
		e, err := bundle.NewExport(b.ReleaseBytes(), b.ProvenanceBytes(), nil, map[manifest.Digest]bundle.Held{to: whole}, c.packs)
		require.NoError(t, err, c.name)
		var out bytes.Buffer
		require.NoError(t, e.Write(s.ctx, &out), c.name)
		data, path := out.Bytes(), filepath.Join(s.dir, "wrong.star")
		if c.damage {
			data[lastOfData(data)] ^= 1
		}
		require.NoError(t, os.WriteFile(path, data, 0o600))
		require.NoError(t, s.op.removeImage(to))

		in, err := s.op.Import(s.ctx, path)
		require.NoError(t, err, c.name)
		require.Len(t, in.Refused, c.not, "%s: %v", c.name, in.Refused)
		require.Equal(t, c.here, in.Packs, c.name)
		require.NotNil(t, s.op.stock.at(to), c.name)
		require.Equal(t, c.here == 1, s.op.stock.at(x.Pack) != nil, c.name)
		_, err = s.op.heldNotice(s.op.View(), from, to)
		require.Equal(t, c.here == 1, err == nil, c.name)
		check, err := s.op.VerifyStore(s.ctx)
		require.NoError(t, err, c.name)
		require.True(t, check.OK, "%s: %s", c.name, check.Text)
		images, unfinished, err := s.op.imageDirs()
		require.NoError(t, err, c.name)
		require.Empty(t, unfinished, c.name)
		require.Len(t, images, 4+c.here, c.name)
	}
}

// lastOfData is where the last byte before the index of a bundle stands.
func lastOfData(star []byte) int {
	return 55 + int(binary.BigEndian.Uint64(star[8:]))
}
