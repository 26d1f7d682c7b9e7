package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/canonical"
	"github.com/starling-swarm/starling/artifacts/planted"
)

const (
	// ReleaseFormat is the newest release format this build reads and writes.
	ReleaseFormat = 1
	// MaxReleaseBytes bounds an encoded release.
	MaxReleaseBytes = 16 << 10
	// MaxVariants bounds the variants of one release.
	MaxVariants = 32
	// MaxFrom bounds the stepping stones and the fallbacks of one release.
	MaxFrom = 32
	// DefaultComponent is the component of a robot that names none.
	DefaultComponent = "app"
)

// namePattern is what the names of components, drivers and labels look like.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// versionPattern is what a version looks like: it becomes part of a file name.
var versionPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$`)

// ValidName reports whether s can name a component, a driver, a label or a robot:
// 1 to 32 of a-z, 0-9, dot, dash and underscore, not starting with a mark.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// ValidVersion reports whether s can name a version: 1 to 32 of letters, digits,
// dot, plus, dash and underscore, starting with a letter or digit.
func ValidVersion(s string) bool { return versionPattern.MatchString(s) }

// A Ref names a release. Two releases of one component have different counters.
type Ref struct {
	_       struct{} `cbor:",toarray"`
	Version string   // for people
	Counter uint64   // rises with each release of the component
	Digest  Digest   // of the encoded Release
}

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r.Digest.IsZero() }

// String is "1.4.2 (9f86d081884c)".
func (r Ref) String() string {
	if r.IsZero() {
		return "none"
	}
	return r.Version + " (" + r.Digest.Short() + ")"
}

// A Variant is the form of a release for one kind of robot.
type Variant struct {
	// Name is for people, unique in the release.
	Name string `cbor:"0,keyasint"`
	// Match holds the labels a robot must have, all of them, and "platform"
	// ("linux/arm64"), which the robot knows itself. Empty matches every robot.
	Match map[string]string `cbor:"1,keyasint"`
	// Manifest names the image; Bytes is the length of its stream and
	// ManifestBytes of the encoded manifest, so both are known before a fetch.
	Manifest      Digest `cbor:"2,keyasint"`
	ManifestBytes uint64 `cbor:"3,keyasint"`
	Bytes         uint64 `cbor:"4,keyasint"`
	// Driver says how the image is installed: "dirslot", "exec".
	Driver string `cbor:"5,keyasint"`
	// Requires names what the driver must be able to do: "revert", "atomic".
	Requires []string `cbor:"6,keyasint,omitempty"`
	// Run is the command that starts the payload, relative to the slot; empty
	// if the driver or the robot's configuration knows it.
	Run []string `cbor:"7,keyasint,omitempty"`
}

// A Release is what an owner signs for one component, through TUF targets: the
// target's length and hash are those of the encoded Release.
type Release struct {
	Format    uint      `cbor:"0,keyasint"`
	Component string    `cbor:"1,keyasint"`
	Version   string    `cbor:"2,keyasint"`
	Counter   uint64    `cbor:"3,keyasint"` // 1 or more
	Variants  []Variant `cbor:"4,keyasint"` // 1 to MaxVariants, sorted by name
	// From lists the versions that can be updated to this one directly; empty
	// means any. A robot on another goes through stepping stones.
	From []string `cbor:"5,keyasint,omitempty"`
	// Fallbacks lists the releases a robot may go back to from this one.
	Fallbacks []Ref `cbor:"6,keyasint,omitempty"`
	// SecurityFloor is the lowest counter that may run once this release is
	// committed everywhere, at most Counter; zero leaves the floor where it is.
	SecurityFloor uint64 `cbor:"7,keyasint,omitempty"`
	// Provenance is the Sum of the encoded envelope that the builder signed, if
	// any: it names the statement and who signed it.
	Provenance Digest `cbor:"8,keyasint"`
	// Notes is one line for people.
	Notes string `cbor:"9,keyasint,omitempty"`
}

// Encode returns the release's bytes; Sum of them is its digest.
func (r *Release) Encode() []byte { return canonical.Encode(r) }

// Digest names the release.
func (r *Release) Digest() Digest { return Sum(r.Encode()) }

// Ref names the release for orders and plans.
func (r *Release) Ref() Ref { return Ref{Version: r.Version, Counter: r.Counter, Digest: r.Digest()} }

// Target is the release's path in TUF targets: "app/1.4.2".
func (r *Release) Target() string { return r.Component + "/" + r.Version }

// DecodeRelease parses and checks a release.
func DecodeRelease(data []byte) (*Release, error) {
	var r Release
	if err := canonical.DecodeFormat(data, MaxReleaseBytes, "release", ReleaseFormat, &r); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return &r, nil
}

// Check reports everything that makes r unusable, each error wrapping ErrInvalid.
// Two variants that could match one robot are an error: which one a robot runs
// must not depend on an order.
func (r *Release) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w release: "+format, append([]any{ErrInvalid}, args...)...))
	}
	if r.Format != ReleaseFormat {
		bad("format %d", r.Format)
	}
	if !ValidName(r.Component) {
		bad("component %q: want 1 to 32 of a-z 0-9 . - _", r.Component)
	}
	if !ValidVersion(r.Version) {
		bad("version %q: want 1 to 32 of letters, digits and . + - _", r.Version)
	}
	if r.Counter == 0 {
		bad("counter 0: counters start at 1")
	}
	if len(r.Variants) == 0 || len(r.Variants) > MaxVariants {
		bad("%d variants, want 1 to %d", len(r.Variants), MaxVariants)
	}
	if len(r.From) > MaxFrom || len(r.Fallbacks) > MaxFrom {
		bad("more than %d stepping stones or fallbacks", MaxFrom)
	}
	for _, v := range r.From {
		if !ValidVersion(v) {
			bad("stepping stone %q is no version", v)
		}
	}
	for _, f := range r.Fallbacks {
		if !ValidVersion(f.Version) || f.Counter == 0 || f.IsZero() {
			bad("fallback %q with counter %d names no release", f.Version, f.Counter)
		}
	}
	if r.SecurityFloor > r.Counter {
		bad("security floor %d is above its own counter %d", r.SecurityFloor, r.Counter)
	}
	if len(r.Notes) > 200 {
		bad("notes of %d bytes, the limit is 200", len(r.Notes))
	}
	for i, v := range r.Variants {
		if i > 0 && v.Name <= r.Variants[i-1].Name {
			bad("variants are not sorted by name, or %q stands twice", v.Name)
		}
		if err := v.check(); err != nil {
			bad("variant %q: %v", v.Name, err)
		}
		for _, w := range r.Variants[:i] {
			if v.overlaps(w) {
				bad("variants %q and %q overlap: one robot could match both; give both a value for the same label", w.Name, v.Name)
			}
		}
	}
	return errors.Join(errs...)
}

func (v *Variant) check() error {
	if !ValidName(v.Name) || !ValidName(v.Driver) {
		return fmt.Errorf("name %q and driver %q must be 1 to 32 of a-z 0-9 . - _", v.Name, v.Driver)
	}
	if v.Manifest.IsZero() || v.ManifestBytes == 0 || v.ManifestBytes > MaxBytes {
		return fmt.Errorf("no manifest, or one of %d bytes", v.ManifestBytes)
	}
	if len(v.Match) > 8 || len(v.Run) > 32 || len(v.Requires) > 8 {
		return errors.New("more than 8 labels, 8 requirements or 32 words to run")
	}
	for k, val := range v.Match {
		if !ValidName(k) || val == "" || len(val) > 64 {
			return fmt.Errorf("label %s=%q", k, val)
		}
	}
	for _, w := range v.Requires {
		if !ValidName(w) {
			return fmt.Errorf("requirement %q: want 1 to 32 of a-z 0-9 . - _", w)
		}
	}
	for _, w := range v.Run {
		if len(w) > 256 {
			return errors.New("a word to run has more than 256 bytes")
		}
	}
	return nil
}

// overlaps reports whether some robot could match both: no label tells them apart.
func (v *Variant) overlaps(w Variant) bool {
	for k, a := range v.Match {
		if b, ok := w.Match[k]; ok && a != b {
			return false
		}
	}
	return true
}

// For returns the variant for a robot with these labels (with "platform" among
// them), or nil if the release is not for it.
func (r *Release) For(labels map[string]string) *Variant {
	for i := range r.Variants {
		if r.Variants[i].matches(labels) {
			return &r.Variants[i]
		}
	}
	if planted.Is("any-variant") {
		return &r.Variants[0]
	}
	return nil
}

func (v *Variant) matches(labels map[string]string) bool {
	for k, want := range v.Match {
		if labels[k] != want {
			return false
		}
	}
	return true
}

// MayReplace reports whether a robot that runs old may go straight to r.
// The zero Ref is a robot that runs nothing.
func (r *Release) MayReplace(old Ref) bool {
	return old.IsZero() || len(r.From) == 0 || slices.Contains(r.From, old.Version)
}

// MayFallBackTo reports whether a robot that runs r may go back to old.
func (r *Release) MayFallBackTo(old Ref) bool {
	return slices.ContainsFunc(r.Fallbacks, func(f Ref) bool { return f.Digest == old.Digest })
}

// Describe is one line for people: "app 1.4.2: 2 variants (mk1, mk2)".
func (r *Release) Describe() string {
	names := make([]string, len(r.Variants))
	for i, v := range r.Variants {
		names[i] = v.Name
	}
	return fmt.Sprintf("%s %s: %d variants (%s)", r.Component, r.Version, len(names), strings.Join(names, ", "))
}
