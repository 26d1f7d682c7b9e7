package p2p

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// A directStream is the one stream of a direct connection.
type directStream struct{ d *direct }

// Read implements network.MuxedStream.
func (s directStream) Read(b []byte) (int, error) {
	if err := s.d.turn(s.d.reading); err != nil {
		return 0, err
	}
	defer func() { <-s.d.reading }()
	return s.d.conn.Read(b)
}

// Write implements network.MuxedStream.
func (s directStream) Write(b []byte) (int, error) {
	if err := s.d.turn(s.d.writing); err != nil {
		return 0, err
	}
	defer func() { <-s.d.writing }()
	return s.d.write(b)
}

// CloseWrite implements network.MuxedStream.
func (s directStream) CloseWrite() error {
	if err := s.d.turn(s.d.writing); err != nil {
		return err
	}
	defer func() { <-s.d.writing }()
	return s.d.endWrites()
}

// turn takes the token of those who read, or write, for the stream's user. Once the
// stream has ended nobody waits for it: that may take as long as linger does.
func (d *direct) turn(token chan struct{}) error {
	select {
	case <-d.ended:
		return network.ErrReset
	case token <- struct{}{}:
	}
	if isDone(d.ended) {
		<-token
		return network.ErrReset
	}
	return nil
}

// CloseRead implements network.MuxedStream.
func (s directStream) CloseRead() error { return s.SetReadDeadline(time.Unix(1, 0)) }

// Close implements network.MuxedStream.
func (s directStream) Close() error {
	s.d.finish("")
	return nil
}

// Reset implements network.MuxedStream. The connection goes first, or there would be
// a goodbye.
func (s directStream) Reset() error {
	_ = s.d.Close() // an error says that it has ended otherwise
	s.d.finish("")
	return nil
}

// ResetWithError implements network.MuxedStream. The peer hears the reason if it waits
// for the answer to its proposal.
func (s directStream) ResetWithError(code network.StreamErrorCode) error {
	switch code {
	case network.StreamGated, network.StreamProtocolNegotiationFailed:
		s.d.finish(refusedLine)
	case network.StreamRateLimited, network.StreamResourceLimitExceeded:
		s.d.finish(busyLine)
	default:
		return s.Reset()
	}
	return nil
}

// SetDeadline implements network.MuxedStream.
func (s directStream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements network.MuxedStream.
func (s directStream) SetReadDeadline(t time.Time) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if isDone(s.d.ended) {
		return network.ErrReset
	}
	return s.d.conn.SetReadDeadline(t)
}

// SetWriteDeadline implements network.MuxedStream.
func (s directStream) SetWriteDeadline(t time.Time) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if isDone(s.d.ended) {
		return network.ErrReset
	}
	s.d.writeBy = t
	return s.d.conn.SetWriteDeadline(t)
}
