package node

import (
	"encoding/binary"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/join"
)

// program is bulk like that of a linked program: random code with an address every
// 96 bytes, all of which move by shift.
func program(bytes int, shift uint32) []byte {
	out := make([]byte, bytes)
	r := mrand.New(mrand.NewPCG(1, 2))
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	for i := 0; i+4 <= bytes; i += 96 {
		binary.LittleEndian.PutUint32(out[i:], uint32(i)+shift)
	}
	return out
}

// buildProgram makes a release of a payload with a program of 2 MiB beside it.
func (s *swarm) buildProgram(version string, shift uint32) (*manifest.Release, string) {
	dir, star := filepath.Join(s.dir, "program-"+version), filepath.Join(s.dir, version+".star")
	require.NoError(s.t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho ok > \"$STARLING_DATA/health\"\nexec sleep 600\n"
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o755))
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "nav"), program(2<<20, shift), 0o755))
	s.counter++
	rel, err := bundle.Build(s.ctx, bundle.Spec{
		Component: "app", Version: version, Counter: s.counter,
		Variants: []bundle.VariantSpec{{Name: "all", Path: dir, Driver: "dirslot", Run: []string{"run"}}},
	}, s.owner, star, nil)
	require.NoError(s.t, err)
	return rel, star
}

// update publishes a release and rolls it out, and waits until all have it. before
// is called in between, when it is served.
func (s *swarm) update(rel *manifest.Release, star string, before func()) {
	s.publish(rel, star)
	if before != nil {
		before()
	}
	s.rollOut(rel)
	s.wait(rel.Version+" done", func() bool {
		return s.status() == order.Finished && s.op.View().Order.Component("app").Active == rel.Ref()
	})
	s.wait("all on "+rel.Version, s.all(rel.Version))
}

// sent is how many bytes of an image the operator's node has put on the wire.
func (s *swarm) sent(d manifest.Digest) int64 {
	x, ok := s.op.exchange.Stats(d)
	require.True(s.t, ok, "image %s is not served", d.Short())
	return x.SentBytes
}

// noted counts the robots that have an event of this kind.
func (s *swarm) noted(kind string) int {
	n := 0
	for _, m := range s.robots {
		if slices.ContainsFunc(m.events.since(0), func(e Event) bool { return e.Kind == kind }) {
			n++
		}
	}
	return n
}

func TestRobotsTakeAPackInPlaceOfTheChunks(t *testing.T) {
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
	var x *delta.Notice
	s.update(fresh, star, func() {
		packs, err := s.op.Pack(s.ctx, old.Digest(), fresh.Digest())
		require.NoError(t, err)
		require.Len(t, packs.Packs, 1)
		p := packs.Packs[0]
		t.Logf("%d bytes missing, %d as chunks, %d with the pack: %s", p.Missing, p.Wire, p.Fetch, p.Text)
		require.Less(t, p.Fetch, p.Wire/10)
		x, err = s.op.notice(s.ctx, from, to)
		require.NoError(t, err)
	})
	require.Equal(t, 4, s.noted("patched"))
	require.Zero(t, s.sent(to), "no robot needed a chunk of the image")
	require.NotZero(t, s.sent(x.Pack))
	require.LessOrEqual(t, s.sent(x.Pack), 4*int64(x.Bytes))
	s.wait("the operator may leave", func() bool { st, _ := s.op.exchange.Stats(to); return st.Safe })
	// A robot hands the notice and the pack on when the operator has gone.
	_, err := s.robots[0].docs.get(join.DeltaDocument, delta.Name(from, to))
	require.NoError(t, err)
	_, held := s.robots[0].exchange.Stats(x.Pack)
	require.True(t, held)
}

// A pack that is signed and wrong costs its fetch: the robots drop it, blame nobody
// and fetch the chunks.
func TestABadPackIsDropped(t *testing.T) {
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
	s.update(fresh, star, func() { s.signBadPack(from, to) })
	require.Equal(t, 4, s.noted("pack-dropped"))
	require.Zero(t, s.noted("chunk-rejected"))
	require.GreaterOrEqual(t, s.sent(to), int64(1<<20))
}

// signBadPack makes a pack whose last segment makes wrong bytes, and serves it.
func (s *swarm) signBadPack(from, to manifest.Digest) {
	a, err := s.op.openImage(from)
	require.NoError(s.t, err)
	defer a.Close()
	b, err := s.op.openImage(to)
	require.NoError(s.t, err)
	defer b.Close()
	dir, err := os.MkdirTemp(s.op.dir.path("images"), newPack)
	require.NoError(s.t, err)
	path := filepath.Join(dir, delta.PackFile)
	st, err := buildPack(s.ctx, a, b, path)
	require.NoError(s.t, err)
	data, err := os.ReadFile(path)
	require.NoError(s.t, err)
	data[20] ^= 1 // in the first frame
	require.NoError(s.t, os.WriteFile(path, data, 0o600))
	require.NoError(s.t, s.op.keepPack(s.ctx, dir, delta.Notice{From: from, To: to, Bytes: uint64(st.Pack), Covers: uint64(st.Covered), Wire: uint64(st.Saved)}))
}

// A pack that its notice promises and nobody has is given up after a while.
func TestAPackThatNobodyHasIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, 1, "1.0.0")
	m := s.robots[0]
	s.wait("the robot takes part", m.taking)
	r := m.Node.robots[0]
	file := filepath.Join(t.TempDir(), delta.PackFile)
	require.NoError(t, os.WriteFile(file, program(300<<10, 0), 0o600))
	pm, err := bundle.BuildImage(s.ctx, file, nil)
	require.NoError(t, err)
	_, err = m.docs.put(join.ManifestDocument, pm.Encode())
	require.NoError(t, err)
	img, err := store.Open(store.Config{Dir: filepath.Join(t.TempDir(), "slot"), Journal: filepath.Join(t.TempDir(), "journal"), Manifest: pm})
	require.NoError(t, err)
	defer img.Close()
	x := &delta.Notice{Pack: pm.Digest(), Bytes: 300 << 10}
	_, err = r.fetchPack(s.ctx, manifest.Digest{}, x, img, 300*time.Millisecond, func(int) {})
	require.ErrorIs(t, err, errStill)
	x.Bytes++
	_, err = r.fetchPack(s.ctx, manifest.Digest{}, x, img, time.Minute, func(int) {})
	require.ErrorIs(t, err, delta.ErrBad, "the manifest is not that of such a pack")
}
