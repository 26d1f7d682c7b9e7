package fabric

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Fault is something wrong with the network, as plain data: one of the types below.
// It begins when it is applied and ends when it is lifted. Several may lie over each
// other. On a way of several hops a fault acts on each hop that it covers, or on the
// whole way if it covers only its ends.
type Fault interface {
	fmt.Stringer
	check() error
	// cover returns which directed pairs of hosts, by index, it covers.
	cover(n *Net) (func(from, to int) bool, error)
	// cuts reports whether nothing passes, so that a mesh looks for another way.
	cuts() bool
	// spoil changes p, of which it covers a hop; a is the fault as applied.
	spoil(p *path, a *applied)
}

// Links chooses directed links by the names of their ends. An empty list is every
// host, so the zero Links is every link.
type Links struct {
	From, To []string
	Both     bool // the way back too
}

func (l Links) String() string {
	arrow := "->"
	if l.Both {
		arrow = "<->"
	}
	return hostNames(l.From) + arrow + hostNames(l.To)
}

func hostNames(names []string) string {
	if len(names) == 0 {
		return "*"
	}
	return strings.Join(names, ",")
}

func (l Links) cover(n *Net) (func(from, to int) bool, error) {
	a, err := n.set(l.From)
	if err != nil {
		return nil, err
	}
	b, err := n.set(l.To)
	if err != nil {
		return nil, err
	}
	return func(from, to int) bool {
		return from != to && (a.has(from) && b.has(to) || l.Both && a.has(to) && b.has(from))
	}, nil
}

// A hostSet holds indexes; nil holds all.
type hostSet []int

func (s hostSet) has(i int) bool {
	if s == nil {
		return true
	}
	_, ok := slices.BinarySearch(s, i)
	return ok
}

func (n *Net) set(names []string) (hostSet, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var out hostSet
	for _, name := range names {
		h := n.named[name]
		if h == nil {
			return nil, fmt.Errorf("fabric: no host is called %q", name)
		}
		out = append(out, h.index)
	}
	slices.Sort(out)
	return out, nil
}

// Partition splits the hosts into groups that cannot reach each other. All hosts in
// no group are one more group.
type Partition struct {
	Groups [][]string
	// OneWay lets everything pass but what comes from the first group.
	OneWay bool
}

func (f Partition) String() string {
	var groups []string
	for _, g := range f.Groups {
		groups = append(groups, strings.Join(g, ","))
	}
	if f.OneWay {
		return "partition one-way " + strings.Join(groups, " | ")
	}
	return "partition " + strings.Join(groups, " | ")
}

func (f Partition) check() error {
	if len(f.Groups) == 0 || slices.ContainsFunc(f.Groups, func(g []string) bool { return len(g) == 0 }) {
		return errors.New("fabric: a partition has groups, and each has hosts")
	}
	return nil
}

func (f Partition) cover(n *Net) (func(from, to int) bool, error) {
	group := map[int]int{} // from 1; 0 is the rest
	for i, names := range f.Groups {
		s, err := n.set(names)
		if err != nil {
			return nil, err
		}
		for _, h := range s {
			if group[h] != 0 {
				return nil, fmt.Errorf("fabric: host %q is in two groups", n.hosts[h].name)
			}
			group[h] = i + 1
		}
	}
	return func(from, to int) bool {
		return group[from] != group[to] && (!f.OneWay || group[from] == 1)
	}, nil
}

func (Partition) cuts() bool                { return true }
func (Partition) spoil(p *path, _ *applied) { p.refuse(Blocked) }

// Clog holds back everything on its links until it is lifted; then all of it goes.
type Clog struct{ On Links }

func (f Clog) String() string                                { return "clog " + f.On.String() }
func (f Clog) check() error                                  { return nil }
func (f Clog) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (Clog) cuts() bool                                      { return false }
func (Clog) spoil(p *path, a *applied)                       { p.clog = a }

// Loss loses Share of the packets, and more if Burst says so.
type Loss struct {
	On    Links
	Share float64
	Burst Burst
}

func (f Loss) String() string {
	s := fmt.Sprintf("loss %s %g", f.On, f.Share)
	if f.Burst != (Burst{}) {
		s += fmt.Sprintf(" burst %g/%g/%g", f.Burst.Begin, f.Burst.End, f.Burst.Share)
	}
	return s
}

func (f Loss) check() error                                  { return errors.Join(checkShare(f.Share), f.Burst.validate()) }
func (f Loss) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Loss) cuts() bool                                    { return false }
func (f Loss) spoil(p *path, a *applied) {
	p.losses = append(p.losses, chance{a.draws(p), f.Share})
	if f.Burst.Begin > 0 {
		p.bursts = append(p.bursts, burst{a.draws(p), f.Burst})
	}
}

// Bandwidth multiplies the rate.
type Bandwidth struct {
	On     Links
	Factor float64 // above 0; 0.1 is a tenth
}

func (f Bandwidth) String() string                                { return fmt.Sprintf("bandwidth %s x%g", f.On, f.Factor) }
func (f Bandwidth) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Bandwidth) cuts() bool                                    { return false }
func (f Bandwidth) spoil(p *path, _ *applied) {
	for i := range p.slow {
		if p.hop < 0 || p.hop == i {
			p.slow[i] /= f.Factor
		}
	}
}
func (f Bandwidth) check() error {
	if !(f.Factor >= 1e-6 && f.Factor <= 1e6) {
		return fmt.Errorf("fabric: a bandwidth times %g is none", f.Factor)
	}
	return nil
}

// Delay adds to the latency, and Jitter on the average.
type Delay struct {
	On          Links
	Add, Jitter time.Duration
}

func (f Delay) String() string                                { return fmt.Sprintf("delay %s +%v ~%v", f.On, f.Add, f.Jitter) }
func (f Delay) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Delay) cuts() bool                                    { return false }
func (f Delay) spoil(p *path, a *applied) {
	p.latency += f.Add
	if f.Jitter > 0 {
		p.jitter = append(p.jitter, jitter{a.draws(p), f.Jitter})
	}
}
func (f Delay) check() error { return checkTimes(f.Add, f.Jitter) }

// Duplicate delivers Share of the packets twice.
type Duplicate struct {
	On    Links
	Share float64
}

func (f Duplicate) String() string                                { return fmt.Sprintf("duplicate %s %g", f.On, f.Share) }
func (f Duplicate) check() error                                  { return checkShare(f.Share) }
func (f Duplicate) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Duplicate) cuts() bool                                    { return false }
func (f Duplicate) spoil(p *path, a *applied) {
	p.copies = append(p.copies, chance{a.draws(p), f.Share})
}

// Reorder delays Share of the packets by By, so that later ones overtake them.
type Reorder struct {
	On    Links
	Share float64
	By    time.Duration
}

func (f Reorder) String() string                                { return fmt.Sprintf("reorder %s %g by %v", f.On, f.Share, f.By) }
func (f Reorder) check() error                                  { return errors.Join(checkShare(f.Share), checkTimes(f.By)) }
func (f Reorder) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Reorder) cuts() bool                                    { return false }
func (f Reorder) spoil(p *path, a *applied) {
	p.late = append(p.late, late{chance{a.draws(p), f.Share}, f.By})
}

// Corrupt flips a bit in Share of the packets, below the checksum: packets arrive
// with it; streams notice, and send again.
type Corrupt struct {
	On    Links
	Share float64
}

func (f Corrupt) String() string                                { return fmt.Sprintf("corrupt %s %g", f.On, f.Share) }
func (f Corrupt) check() error                                  { return checkShare(f.Share) }
func (f Corrupt) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f Corrupt) cuts() bool                                    { return false }
func (f Corrupt) spoil(p *path, a *applied)                     { p.flips = append(p.flips, chance{a.draws(p), f.Share}) }

// MTU drops IP packets of more than Bytes; streams send smaller ones.
type MTU struct {
	On    Links
	Bytes int
}

func (f MTU) String() string                                { return fmt.Sprintf("mtu %s %d", f.On, f.Bytes) }
func (f MTU) cover(n *Net) (func(from, to int) bool, error) { return f.On.cover(n) }
func (f MTU) cuts() bool                                    { return false }
func (f MTU) spoil(p *path, _ *applied)                     { p.mtu = min(p.mtu, f.Bytes) }
func (f MTU) check() error {
	if f.Bytes < minMTU {
		return fmt.Errorf("fabric: an MTU is %d bytes or more (RFC 791), not %d", minMTU, f.Bytes)
	}
	return nil
}

func checkShare(v float64) error {
	if !isShare(v) {
		return fmt.Errorf("fabric: a share is from 0 to 1, not %v", v)
	}
	return nil
}

func checkTimes(all ...time.Duration) error {
	for _, d := range all {
		if d < 0 {
			return fmt.Errorf("fabric: time does not go back by %v", d)
		}
	}
	return nil
}
