package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/consensus/rollout"
)

const (
	// SnapshotFormat is the newest format of snapshots this build reads and writes.
	SnapshotFormat = 1
	// MaxChain bounds the changes of electorate in one generation; at the bound
	// Propose refuses more, and a new genesis starts a short chain.
	MaxChain = 128
	// MaxSnapshotBytes bounds a snapshot. A usual one is below 64 KiB.
	MaxSnapshotBytes = rollout.MaxStateBytes + (MaxChain+1)*(order.MaxBytes+order.MaxCertificateBytes) + 1<<10

	maxProofBytes = MaxSnapshotBytes - rollout.MaxStateBytes
	snapshotsKept = 2
)

// A link is an order with its certificate, encoded.
type link struct {
	_           struct{} `cbor:",toarray"`
	Order       []byte
	Certificate []byte
}

// proof is what leads from the genesis to the newest certified order. It is also
// the file "certified".
type proof struct {
	Format uint   `cbor:"0,keyasint"`
	Chain  []link `cbor:"1,keyasint"`
	// Newest is absent while only the genesis is known, and if the chain ends there.
	Newest *link `cbor:"2,keyasint"`
}

// A snapshot is a certified state and what proves it.
type snapshot struct {
	Format uint   `cbor:"0,keyasint"`
	Proof  proof  `cbor:"1,keyasint"`
	State  []byte `cbor:"2,keyasint"`
}

func newProof(chain []order.Proven, newest order.Proven) proof {
	p := proof{Format: SnapshotFormat}
	for _, c := range chain {
		p.Chain = append(p.Chain, link{Order: c.Order.Encode(), Certificate: c.Certificate.Encode()})
	}
	if newest.Certificate != nil {
		p.Newest = &link{Order: newest.Order.Encode(), Certificate: newest.Certificate.Encode()}
	}
	return p
}

// open follows the proof from the genesis that fresh starts at; every certificate
// is verified.
func (p *proof) open(fresh func() *order.Ledger) (*order.Ledger, error) {
	if p.Format != SnapshotFormat || len(p.Chain) > MaxChain {
		return nil, fmt.Errorf("proof: %w: %d changes of electorate", canonical.ErrTooLarge, len(p.Chain))
	}
	l := fresh()
	links := p.Chain
	if p.Newest != nil {
		links = append(links[:len(links):len(links)], *p.Newest)
	}
	for _, k := range links {
		o, err := order.Decode(k.Order)
		if err != nil {
			return nil, err
		}
		c, err := order.DecodeCertificate(k.Certificate)
		if err != nil {
			return nil, err
		}
		if err := l.Accept(order.Proven{Order: o, Certificate: c}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// openSnapshot verifies a snapshot from the genesis on and returns the state with
// the ledger that vouches for it. Errors wrap ErrForged.
func openSnapshot(data []byte, fresh func() *order.Ledger) (*rollout.State, *order.Ledger, error) {
	forged := func(err error) (*rollout.State, *order.Ledger, error) {
		return nil, nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	var s snapshot
	if err := canonical.DecodeFormat(data, MaxSnapshotBytes, "snapshot", SnapshotFormat, &s); err != nil {
		return forged(err)
	}
	l, err := s.Proof.open(fresh)
	if err != nil {
		return forged(err)
	}
	cert := l.Newest().Certificate
	if cert == nil {
		return forged(errors.New("it carries no certificate"))
	}
	state, err := rollout.DecodeState(s.State)
	if err != nil {
		return forged(err)
	}
	if state.Index != state.OrderIndex || state.Statement() != cert.Statement {
		return forged(fmt.Errorf("its state at index %d is not the one certified at %d", state.Index, cert.Statement.Index))
	}
	return state, l, nil
}

// store keeps snapshots in files and lets none in that it cannot verify. Raft
// would keep a snapshot that Restore refuses, and fail over it at the next start.
type store struct {
	raft.SnapshotStore
	fresh func() *order.Ledger
	fits  func(raft.Configuration, *order.Ledger) error
}

func openStore(dir string, log hclog.Logger, fresh func() *order.Ledger, fits func(raft.Configuration, *order.Ledger) error) (*store, error) {
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, log)
	if err != nil {
		return nil, fmt.Errorf("%w: open snapshots: %v", ErrDamaged, err)
	}
	return &store{SnapshotStore: files, fresh: fresh, fits: fits}, nil
}

// Create implements raft.SnapshotStore.
func (s *store) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, t raft.Transport) (raft.SnapshotSink, error) {
	if ci > index {
		return nil, fmt.Errorf("%w: at %d with a configuration of %d", ErrForged, index, ci)
	}
	sink, err := s.SnapshotStore.Create(v, index, term, c, ci, t)
	if err != nil {
		return nil, err
	}
	return &checkedSink{SnapshotSink: sink, store: s, index: index, configuration: c}, nil
}

// checkedSink verifies a snapshot before it counts.
type checkedSink struct {
	raft.SnapshotSink
	store         *store
	index         uint64
	configuration raft.Configuration
	data          bytes.Buffer
	closed        bool // raft closes what Persist has closed already
}

// Write implements io.Writer.
func (k *checkedSink) Write(p []byte) (int, error) {
	if k.data.Len()+len(p) > MaxSnapshotBytes {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrForged, MaxSnapshotBytes)
	}
	k.data.Write(p)
	return k.SnapshotSink.Write(p)
}

// Close makes the snapshot durable, or refuses it and leaves nothing behind.
func (k *checkedSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	state, l, err := openSnapshot(k.data.Bytes(), k.store.fresh)
	if err == nil && state.Index != k.index {
		err = fmt.Errorf("%w: the state of index %d for index %d", ErrForged, state.Index, k.index)
	}
	if err == nil {
		err = k.store.fits(k.configuration, l)
	}
	if err != nil {
		return errors.Join(err, k.Cancel())
	}
	return k.SnapshotSink.Close()
}

// frozen is a snapshot on its way to the disk.
type frozen []byte

// Persist implements raft.FSMSnapshot.
func (f frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := io.Copy(sink, bytes.NewReader(f)); err != nil {
		return err
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (f frozen) Release() {}
