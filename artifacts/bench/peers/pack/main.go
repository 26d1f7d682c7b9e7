// Command pack makes the pack that leads a robot from one tree to another, as
// `starling release pack` does, and writes what it was good for as one JSON object. It
// lists both trees first, which the product has done when it built the releases.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/store"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: pack OLD NEW FILE")
		os.Exit(2)
	}
	s, err := pack(context.Background(), os.Args[1], os.Args[2], os.Args[3])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(ctx context.Context, older, newer, file string) (s delta.Stats, err error) {
	old, err := open(ctx, older)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	fresh, err := open(ctx, newer)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	f, err := os.Create(file)
	if err != nil {
		return s, err
	}
	s, err = delta.Build(ctx, old, fresh, f, nil)
	if err == nil {
		err = f.Sync()
	}
	return s, errors.Join(err, f.Close())
}

func open(ctx context.Context, dir string) (*store.Image, error) {
	m, err := bundle.BuildImage(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	return store.Open(store.Config{Dir: dir, ReadOnly: true, Manifest: m})
}
