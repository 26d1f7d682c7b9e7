package scenario

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starling-swarm/starling/netsim/scenario/strict"
)

// An Occurrence is one start of one fault, with nothing left to chance but what
// depends on the run: its Fault has At or When, and names instead of shares. Where
// only the run knows who is meant, the pick stays, with Spread or Swizzle if there is
// one, and Draw is the seed for Pick.Choose and for the order.
type Occurrence struct {
	Source int           // index in Scenario.Faults of where it comes from
	At     time.Duration // when it starts; 0 with a condition
	Fault  Fault
}

// Timeline counts the faults out: one occurrence for each start, ordered by time,
// those that wait for a condition last. A fault's chances come from seed, its own
// text, and how many equal ones stand before it, so that another fault can be left
// out without moving it. s must be valid.
func (s *Scenario) Timeline(seed uint64) []Occurrence {
	machines := s.Machines()
	twins := map[string]int{}
	var list []Occurrence
	for i := range s.Faults {
		text := string(strict.Encode(&s.Faults[i]))
		x := &expander{s: s, machines: machines, rng: generator(seed, text, twins[text])}
		twins[text]++
		for _, f := range x.starts(s.Faults[i]) {
			o := Occurrence{Source: i, Fault: f}
			if f.At != nil {
				o.At = *f.At
			}
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b Occurrence) int {
		if a.timed() != b.timed() {
			if a.timed() {
				return -1
			}
			return 1
		}
		return int(min(max(a.At-b.At, -1), 1))
	})
	return list
}

func (o Occurrence) timed() bool { return o.Fault.When == nil }

// Replay is s with its faults counted out for seed: a scenario that leaves nothing
// about them to chance. Its own timeline is its faults again.
func (s *Scenario) Replay(seed uint64) *Scenario {
	r := s.Clone()
	r.Seed, r.Faults = seed, nil
	for _, o := range s.Timeline(seed) {
		r.Faults = append(r.Faults, o.Fault)
	}
	return r
}

// generator is the source of one fault's chances.
func generator(seed uint64, text string, twin int) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", seed, twin, text))
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])))
}

// first is when a fault with Every starts first, without jitter.
func (f *Fault) first() time.Duration {
	if f.From != nil {
		return *f.From
	}
	return f.Every
}

// An expander counts out one fault.
type expander struct {
	s        *Scenario
	machines []Machine
	rng      *rand.Rand
}

// starts lists the occurrences of f, those of one start together.
func (x *expander) starts(f Fault) (list []Fault) {
	if f.When != nil {
		return x.once(f)
	}
	if f.Every == 0 {
		at := f.At
		if at == nil {
			at = f.From
		}
		return x.once(x.from(f, *at))
	}
	for n, base := 0, f.first(); base < x.s.Duration && (f.Times == 0 || n < f.Times); n, base = n+1, base+f.Every {
		t := base
		if f.Jitter > 0 {
			t += time.Duration(x.rng.Int64N(int64(2*f.Jitter)+1)) - f.Jitter
		}
		t = max(t, 0)
		if t >= x.s.Duration {
			break
		}
		list = append(list, x.once(x.from(f, t))...)
	}
	return list
}

// from is f starting at t; without For a lasting fault that has a From stays to the
// end.
func (x *expander) from(f Fault, t time.Duration) Fault {
	if a, _ := f.action(); a.does == Lasting && f.For == 0 {
		f.For = x.s.Duration - t
	}
	f.At, f.From, f.Every, f.Jitter, f.Times = &t, nil, 0, 0, 0
	return *strict.Clone(&f)
}

// later is f, d after its start, lasting for so long.
func later(f Fault, d, lasts time.Duration) Fault {
	f = *strict.Clone(&f)
	if f.When != nil {
		f.When.Delay += d
	} else {
		*f.At += d
	}
	f.For = lasts
	return f
}

// once draws what can be drawn of one start of f.
func (x *expander) once(f Fault) []Fault {
	f = *strict.Clone(&f)
	if f.Partition != nil && len(f.Partition.Shares) > 0 {
		f.Partition.Groups, f.Partition.Shares = x.split(f.Partition.Shares), nil
	}
	draw := f.Draw
	if draw == 0 {
		draw = max(1, x.rng.Uint64())
	}
	f.Draw = 0
	if x.others(&f, draw); f.Pick == nil {
		return []Fault{f}
	}
	names := f.Pick.Choose(draw, func(t Term) []string { return x.s.who(x.machines, t) })
	switch {
	case f.Pick.Truth(), len(names) == 0: // nobody yet: a label that the story sets
		if f.Pick.Amount != nil || f.Spread > 0 || f.Swizzle != nil {
			f.Draw = draw
		}
	case f.Swizzle != nil:
		return x.swizzle(f, names)
	case f.Spread > 0:
		return x.spread(f, names)
	case f.Pick.Amount != nil:
		*f.Pick = Named(names...)
	}
	return []Fault{f}
}

// others draws who else the action of f names: the groups of a partition, the other
// ends of links.
func (x *expander) others(f *Fault, draw uint64) {
	n := uint64(0)
	strict.Each(f, func(path string, p *Pick) {
		if path == "pick" || p.Amount == nil {
			return
		}
		n++
		names := p.Choose(draw+n, func(t Term) []string { return x.s.who(x.machines, t) })
		if p.Truth() || len(names) == 0 {
			f.Draw = draw
		} else {
			*p = Named(names...)
		}
	})
}

// split cuts all machines into groups of the given shares; who is left over is in
// the network's own last group.
func (x *expander) split(shares []Share) (groups []Pick) {
	names := make([]string, len(x.machines))
	for i, m := range x.machines {
		names[i] = m.Name
	}
	x.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var sum int64
	at := 0
	for _, share := range shares {
		sum += int64(share)
		end := int((sum*int64(len(names)) + int64(Whole)/2) / int64(Whole))
		if end > at {
			groups = append(groups, Named(names[at:end]...))
		}
		at = end
	}
	if groups == nil { // shares too small for so few machines: one is alone
		groups = append(groups, Named(names[0]))
	}
	return groups
}

// spread hits names one by one, the last one Spread after the first.
func (x *expander) spread(f Fault, names []string) (list []Fault) {
	x.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	over := f.Spread
	f.Spread = 0
	for i, name := range names {
		one := later(f, over*time.Duration(i)/time.Duration(max(1, len(names)-1)), f.For)
		*one.Pick = Named(name)
		list = x.keep(list, one)
	}
	return list
}

// swizzle clogs names one by one, and releases them in another order.
func (x *expander) swizzle(f Fault, names []string) (list []Fault) {
	gap, release := f.Swizzle.Gap, x.rng.Perm(len(names))
	f.Swizzle, f.Clog = nil, &Clog{Ends{Direction: "both"}}
	x.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, name := range names {
		begin := gap * time.Duration(i)
		end := f.For + gap*time.Duration(release[i])
		one := later(f, begin, max(end-begin, time.Millisecond))
		*one.Pick = Named(name)
		list = x.keep(list, one)
	}
	return list
}

// keep appends f if it starts before the end of the run.
func (x *expander) keep(list []Fault, f Fault) []Fault {
	if f.At != nil && *f.At >= x.s.Duration {
		return list
	}
	return append(list, f)
}
