package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// A Ref names a release: "1.1", or "nav/1.1" of a component other than app.
type Ref string

// Split is the component and the version that r names.
func (r Ref) Split() (component, version string) {
	if c, v, ok := strings.Cut(string(r), "/"); ok {
		return c, v
	}
	return manifest.DefaultComponent, string(r)
}

// A Release is one version of one component, and how it behaves when it runs.
type Release struct {
	Version   string `yaml:"version"`
	Component string `yaml:"component" default:"app"`
	// Size is that of each variant's image.
	Size Bytes `yaml:"size" default:"1MiB" min:"1KiB" max:"4GiB"`
	// Shared is how much of the image is that of the component's release before.
	Shared Share `yaml:"shared"`
	// Behaviour is what the payload does on every robot.
	Behaviour Behaviour `yaml:"behaviour" default:"ok"`
	// Variants are one for each model they name; none is one variant for all.
	Variants []Variant `yaml:"variants"`
}

// Ref is how others name r.
func (r *Release) Ref() Ref {
	if r.Component == manifest.DefaultComponent {
		return Ref(r.Version)
	}
	return Ref(r.Component + "/" + r.Version)
}

// A Variant is the release's form for one model; what it leaves out is the
// release's.
type Variant struct {
	Model     string     `yaml:"model"`
	Size      *Bytes     `yaml:"size" min:"1KiB" max:"4GiB"`
	Behaviour *Behaviour `yaml:"behaviour"`
}

// The kinds of Behaviour.
const (
	OK               = "ok"
	CrashAtStart     = "crash-at-start"
	CrashAfter       = "crash-after"        // a time
	UnhealthyAfter   = "unhealthy-after"    // a time: from then on its probe fails
	SlowLeak         = "slow-leak"          // a time: it slows down, and dies then
	WrongPlatform    = "wrong-platform"     // the bytes are for another machine
	FailsOn          = "fails-on"           // a model: it crashes at start there only
	FailsAfterReboot = "fails-after-reboot" // well until the machine starts anew
)

// behaviours says what each kind is followed by.
var behaviours = map[string]string{OK: "", CrashAtStart: "", CrashAfter: "time", UnhealthyAfter: "time",
	SlowLeak: "time", WrongPlatform: "", FailsOn: "model", FailsAfterReboot: ""}

const behaviourHelp = "ok, crash-at-start, crash-after 30s, unhealthy-after 2s, slow-leak 5m, wrong-platform, fails-on MODEL or fails-after-reboot"

// A Behaviour is what a payload does: a kind, and a time since its start or a model
// where the kind takes one.
type Behaviour struct {
	Kind  string
	After time.Duration
	Model string
}

// UnmarshalText reads "ok", "crash-after 30s", "fails-on quad" and so on.
func (b *Behaviour) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is no behaviour: want %s", text, behaviourHelp)
	words := strings.Fields(string(text))
	if len(words) == 0 || len(words) > 2 {
		return bad
	}
	takes, known := behaviours[words[0]]
	if !known || (takes == "") != (len(words) == 1) {
		return bad
	}
	*b = Behaviour{Kind: words[0]}
	switch takes {
	case "time":
		after, err := strict.ParseDuration(words[1])
		if err != nil || after < 0 {
			return bad
		}
		b.After = after
	case "model":
		b.Model = words[1]
	}
	return nil
}

// String undoes UnmarshalText.
func (b Behaviour) String() string {
	switch behaviours[b.Kind] {
	case "time":
		return b.Kind + " " + strict.FormatDuration(b.After)
	case "model":
		return b.Kind + " " + b.Model
	}
	return b.Kind
}

// MarshalText is String.
func (b Behaviour) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Check reports a behaviour that cannot be.
func (b Behaviour) Check() error {
	if takes, known := behaviours[b.Kind]; !known || (takes == "model") != (b.Model != "") || b.After < 0 || (b.After > 0 && takes != "time") {
		return fmt.Errorf("%q is no behaviour: want %s", b.String(), behaviourHelp)
	}
	return nil
}

// At is how release r behaves on a robot of a model.
func (r *Release) At(model string) Behaviour {
	b := r.Behaviour
	for _, v := range r.Variants {
		if v.Model == model && v.Behaviour != nil {
			b = *v.Behaviour
		}
	}
	if b.Kind != FailsOn {
		return b
	}
	if b.Model == model {
		return Behaviour{Kind: CrashAtStart}
	}
	return Behaviour{Kind: OK}
}

// Bytes is the size of r's image for a model.
func (r *Release) Bytes(model string) Bytes {
	for _, v := range r.Variants {
		if v.Model == model && v.Size != nil {
			return *v.Size
		}
	}
	return r.Size
}
