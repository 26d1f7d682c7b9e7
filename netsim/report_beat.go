package netsim

import "time"

// A Beat is how far a run is.
type Beat struct {
	At        float64 `json:"at"` // seconds of virtual time
	Release   string  `json:"release,omitempty"`
	Status    string  `json:"status,omitempty"`
	Stage     string  `json:"stage,omitempty"`
	Committed int     `json:"committed"` // robots of For that have it
	For       int     `json:"for"`
}

func (w *World) beat() Beat {
	b := Beat{At: time.Since(Start).Seconds()}
	o := w.watch.order()
	if o == nil || o.Rollout == nil {
		return b
	}
	x := o.Rollout
	b.Release, b.Status, b.Stage = string(w.refOf(x.Component, x.Release.Version)), x.Status.String(), stageOf(x)
	rel := w.release(x.Release.Digest)
	if rel == nil {
		return b
	}
	for _, r := range w.allRobots() {
		for _, p := range r.parts {
			if p.component != x.Component || !rel.fits(r.model) {
				continue
			}
			b.For++
			if w.truth.standing(p).committed == x.Release {
				b.Committed++
			}
		}
	}
	return b
}
