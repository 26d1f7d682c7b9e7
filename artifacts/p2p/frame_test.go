package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/envelope"
)

func TestFrames(t *testing.T) {
	for _, n := range []int{0, 1, firstAlloc, firstAlloc + 1, smallFrame, smallFrame + 1, 1 << 20} {
		var wire bytes.Buffer
		sent := bytes.Repeat([]byte{7}, n)
		require.NoError(t, WriteFrame(&wire, sent))
		require.Equal(t, frameHead+n, wire.Len())
		got, err := ReadFrame(iotest.HalfReader(&wire), n)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got), n)
	}
}

func TestFrameErrors(t *testing.T) {
	for _, tc := range []struct {
		name, wire string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"half a head", "\x00\x00", io.ErrUnexpectedEOF},
		{"no body", "\x00\x00\x00\x05", io.ErrUnexpectedEOF},
		{"half a body", "\x00\x00\x00\x05abc", io.ErrUnexpectedEOF},
		{"one above the limit", "\x00\x00\x00\x0babcdefghijk", ErrFrame},
		{"everything", "\xff\xff\xff\xff", ErrFrame},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ReadFrame(strings.NewReader(tc.wire), 10)
			require.ErrorIs(t, err, tc.want)
			require.Nil(t, got)
		})
	}
}

// An announcement costs the sender as much as the receiver.
func TestFrameAllocatesWhatArrives(t *testing.T) {
	wire := "\x3f\xff\xff\xff" + strings.Repeat("x", 10_000) // announces 1 GiB
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadFrame(strings.NewReader(wire), math.MaxInt32)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100_000))
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05hello"), 5)
	f.Add([]byte("\x00\x00\x00\x06hello"), 100)
	f.Add([]byte("\xff\xff\xff\xff"), 1<<30)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, wire []byte, limit int) {
		got, err := ReadFrame(bytes.NewReader(wire), limit)
		if err != nil {
			require.Nil(t, got)
			return
		}
		require.LessOrEqual(t, len(got), limit)
		var again bytes.Buffer
		require.NoError(t, WriteFrame(&again, got))
		require.Equal(t, wire[:again.Len()], again.Bytes())
	})
}

func FuzzReadHello(f *testing.F) {
	f.Add(hello(tongue))
	f.Add(hello(strings.Repeat("x", 200)))
	f.Add([]byte("\x13/multistream/1.0.0\n\x00"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		protocol, err := readHello(bytes.NewReader(wire))
		if err != nil {
			require.Empty(t, protocol)
			return
		}
		got, err := readHello(bytes.NewReader(hello(protocol)))
		require.NoError(t, err)
		require.Equal(t, protocol, got)
	})
}

// answering adds to a Host protocols of Call.
func answering(h *Host) {
	h.Handle("/test/ask/1", Answer(1000, 10*time.Second, func(_ context.Context, peer envelope.Key, request []byte) ([]byte, error) {
		return append([]byte(peer.Short()+" said "), request...), nil
	}))
	h.Handle("/test/no/1", Answer(1000, 10*time.Second, func(context.Context, envelope.Key, []byte) ([]byte, error) {
		return nil, errors.New("I will not say")
	}))
	h.Handle("/test/mute/1", hold)
	h.Handle("/test/bye/1", func(_ context.Context, s *Stream) { s.Close() })
}

func TestCall(t *testing.T) {
	b := newBook()
	a, z := b.start(t, 1, nil), b.start(t, 2, nil, answering)
	got, err := a.Call(soon(t), z.Key(), "/test/ask/1", []byte("hello"), 100)
	require.NoError(t, err)
	require.Equal(t, a.Key().Short()+" said hello", string(got))
	got, err = a.CallAt(soon(t), z.Addr().String(), z.Key(), "/test/ask/1", nil, 100)
	require.NoError(t, err)
	require.Equal(t, a.Key().Short()+" said ", string(got))

	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, tc := range []struct {
		name     string
		ctx      context.Context
		protocol string
		request  string
		limit    int
		want     error
	}{
		{"answer above the limit", soon(t), "/test/ask/1", "hello", 10, ErrFrame},
		{"request above the limit", soon(t), "/test/ask/1", strings.Repeat("x", 1001), 100, ErrReset},
		{"error instead of an answer", soon(t), "/test/no/1", "hello", 100, ErrReset},
		{"end instead of an answer", soon(t), "/test/bye/1", "hello", 100, ErrReset},
		{"no answer in time", brief, "/test/mute/1", "hello", 100, context.DeadlineExceeded},
		{"unknown", soon(t), "/test/unknown/1", "hello", 100, ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := a.Call(tc.ctx, z.Key(), tc.protocol, []byte(tc.request), tc.limit)
			require.ErrorIs(t, err, tc.want)
			require.Nil(t, got)
		})
	}
}
