package node

import (
	"slices"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/artifacts/trust"
)

// release names a digest by what the owner has listed; the digest alone if it is
// not listed.
func (v *View) release(d manifest.Digest) *ReleaseName {
	if d.IsZero() {
		return nil
	}
	out := &ReleaseName{Digest: d}
	if v == nil || v.Trust == nil {
		return out
	}
	all := v.Trust.Releases()
	if i := slices.IndexFunc(all, func(l trust.Listed) bool { return l.Ref.Digest == d }); i >= 0 {
		out.Component, out.Version, out.Counter = all[i].Component, all[i].Ref.Version, all[i].Ref.Counter
	}
	return out
}

// nameRef is nil for a Ref that names nothing.
func nameRef(component string, r manifest.Ref) *ReleaseName {
	if r.IsZero() {
		return nil
	}
	return &ReleaseName{component, r.Version, r.Counter, r.Digest}
}

// String is "1.4.2", or the digest if the version is not known, or "nothing".
func (r *ReleaseName) String() string {
	switch {
	case r == nil:
		return "nothing"
	case r.Version == "":
		return r.Digest.Short()
	}
	return r.Version
}
