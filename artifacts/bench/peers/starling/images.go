package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/starling-swarm/starling/artifacts/bundle"
	"github.com/starling-swarm/starling/artifacts/delta"
	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/store"
)

// openImages opens what the options name: the image, the pack that leads to it, and the
// version that the robot has installed.
func (r *robot) openImages() (err error) {
	source := r.spec.Source
	if r.spec.Options["tree"] == "" { // one file
		source = filepath.Dir(source)
	}
	if r.image, err = r.open(r.spec.Source, source, r.spec.Meta, "slot"); err != nil {
		return err
	}
	if pack := r.spec.Options["pack"]; pack != "" {
		if r.pack, err = r.open(pack, pack, r.spec.Meta+".pack", "pack"); err != nil {
			return err
		}
	}
	old := r.spec.Options["old"]
	if old == "" {
		return nil
	}
	m, err := r.manifest(old, r.spec.Meta+".old") // a robot knows that of what it runs
	if err != nil {
		return err
	}
	r.old, err = store.Open(store.Config{Dir: old, ReadOnly: true, Manifest: m})
	return err
}

// open opens the seed's directory with what lies at path, or the one below its own that
// a fetcher fills, and serves it.
func (r *robot) open(path, dir, meta, name string) (*store.Image, error) {
	m, err := r.manifest(path, meta)
	if err != nil {
		return nil, err
	}
	c := store.Config{Dir: dir, ReadOnly: true, Manifest: m}
	if !r.spec.Seed {
		c = store.Config{Dir: filepath.Join(r.spec.Dir, name), Journal: filepath.Join(r.spec.Dir, name+".journal"), Manifest: m}
	}
	img, err := store.Open(c)
	if err == nil {
		r.release = append(r.release, r.exchange.Hold(img))
	}
	return img, err
}

// manifest lists what lies at path. The seed does, and leaves the list to the others.
func (r *robot) manifest(path, meta string) (*manifest.Manifest, error) {
	file := meta + ".manifest"
	encoded, err := os.ReadFile(file)
	if r.spec.Seed && errors.Is(err, os.ErrNotExist) {
		m, err := bundle.BuildImage(context.Background(), path, nil)
		if err != nil {
			return nil, err
		}
		return m, os.WriteFile(file, m.Encode(), 0o600)
	}
	if err != nil {
		return nil, err
	}
	return manifest.Decode(encoded)
}

// update makes what it can of the image: it copies what the installed one shares with
// it, fetches the pack and applies it.
func (r *robot) update(ctx context.Context) error {
	if r.old == nil {
		return nil
	}
	if _, _, err := r.image.CopyFrom(r.old); err != nil || r.pack == nil {
		return err
	}
	if err := r.exchange.Fetch(ctx, r.pack, func(int) {}); err != nil {
		return err
	}
	p, err := delta.Open(delta.NewReader(r.pack), r.pack.Manifest().Bytes())
	if err != nil {
		return err
	}
	if _, err := p.Apply(ctx, r.old, r.image, nil); err != nil {
		return err
	}
	_, _, err = r.image.CopyFrom(r.image) // chunks that stand at several places are made once
	return err
}

func (r *robot) closeImages() error {
	for _, release := range r.release {
		release()
	}
	var errs []error
	for _, img := range []*store.Image{r.image, r.pack, r.old} {
		if img != nil {
			errs = append(errs, img.Close())
		}
	}
	return errors.Join(errs...)
}
