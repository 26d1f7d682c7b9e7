package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
)

// dir keeps each block in a file, as flatfs does, but without syncing it.
type dir string

var _ blockstore.Blockstore = dir("")

func (d dir) path(c cid.Cid) string { return filepath.Join(string(d), c.Hash().HexString()) }

// Has implements blockstore.Blockstore.
func (d dir) Has(_ context.Context, c cid.Cid) (bool, error) {
	_, err := os.Stat(d.path(c))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Get implements blockstore.Blockstore.
func (d dir) Get(_ context.Context, c cid.Cid) (blocks.Block, error) {
	data, err := os.ReadFile(d.path(c))
	if errors.Is(err, os.ErrNotExist) {
		return nil, format.ErrNotFound{Cid: c}
	} else if err != nil {
		return nil, err
	}
	return blocks.NewBlockWithCid(data, c)
}

// GetSize implements blockstore.Blockstore.
func (d dir) GetSize(_ context.Context, c cid.Cid) (int, error) {
	info, err := os.Stat(d.path(c))
	if errors.Is(err, os.ErrNotExist) {
		return -1, format.ErrNotFound{Cid: c}
	} else if err != nil {
		return -1, err
	}
	return int(info.Size()), nil
}

// Put implements blockstore.Blockstore. A block appears whole or not at all.
func (d dir) Put(_ context.Context, b blocks.Block) error {
	f, err := os.CreateTemp(string(d), "put-*")
	if err != nil {
		return err
	}
	if _, err := f.Write(b.RawData()); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), d.path(b.Cid()))
}

// PutMany implements blockstore.Blockstore.
func (d dir) PutMany(ctx context.Context, all []blocks.Block) error {
	for _, b := range all {
		if err := d.Put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

var errNeverAsked = errors.New("not needed to exchange blocks")

// DeleteBlock implements blockstore.Blockstore.
func (dir) DeleteBlock(context.Context, cid.Cid) error { return errNeverAsked }

// AllKeysChan implements blockstore.Blockstore.
func (dir) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errNeverAsked }
