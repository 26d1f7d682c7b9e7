package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sync/errgroup"

	"github.com/starling-swarm/starling/artifacts/planted"
)

const (
	// joinsAtOnce bounds the streams that one round of rejoining opens at a time.
	joinsAtOnce = 16
	// joinStagger is how long the first try of a round goes before the second; that goes
	// half as long before the third, and so on. One exchange of states mostly brings all
	// the others, and is as long as the swarm is large.
	joinStagger = time.Second
	// lookupTimeout bounds the search for a seed's name.
	lookupTimeout = 3 * time.Second
	// aloneDoublings: a node that is alone asks again after Rejoin/2^n, and
	// doubles that until it reaches Rejoin. Swarms are switched on one by one.
	aloneDoublings = 4
)

// rejoin tries the seeds and everybody who is not alive, again and again. SWIM
// never does: it forgets a member soon after its death (serf and Alertmanager
// have such loops, too).
func (m *Membership) rejoin(ctx context.Context, list *memberlist.Memberlist) error {
	tried := map[string]bool{} // in the current turn through all candidates
	doublings := aloneDoublings
	for {
		if !m.left.Load() && !(planted.Is("no-rejoin") && m.table.alive() > 1) {
			m.sweep()
			m.join(ctx, list, tried)
		}
		wait := m.cfg.Profile.Rejoin()
		wait = wait/2 + rand.N(wait)
		if m.table.alive() > 1 {
			doublings = aloneDoublings
		} else if doublings > 0 {
			wait >>= doublings
			doublings--
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep forgets members that were struck from the roster since.
func (m *Membership) sweep() {
	if m.cfg.Admit == nil {
		return
	}
	for _, row := range m.table.all() {
		if row.Index != m.cfg.Self && !m.cfg.Admit(row.Index, row.Host) {
			m.table.drop(row.Index)
			m.board.drop(row.Index)
			nudge(m.changes)
		}
	}
}

// join makes one round. A round with an exchange of states is enough for both
// sides: each tells its own part of the swarm. Whom the first ones bring is not tried
// any more: a robot that is switched on knows dozens of addresses.
func (m *Membership) join(ctx context.Context, list *memberlist.Memberlist, tried map[string]bool) {
	candidates := m.candidates(ctx)
	picked := pick(candidates, share(len(candidates), m.table.alive()), tried)
	var g errgroup.Group // errors are answers here: nobody at that address
	g.SetLimit(joinsAtOnce)
	ended := make(chan struct{}, 1) // merged: a try has ended
	for i, addr := range picked {
		if i > 0 {
			select {
			case <-ended:
			case <-time.After(max(joinStagger/time.Duration(i), dialTimeout/joinsAtOnce)):
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil || m.table.aliveAt(addr) {
			continue
		}
		g.Go(func() error {
			defer nudge(ended)
			m.count.joinsTried.Add(1)
			if n, err := list.Join([]string{addr}); err != nil {
				m.log.Debug("member out of reach", "addr", addr, "err", err)
			} else if n > 0 {
				m.count.joinsDone.Add(1)
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
}

// share is how many of the candidates one of alive members tries in a round:
// alone it tries everybody in two rounds, which is less than two minutes; in a
// group the work is shared.
func share(candidates, alive int) int {
	each := 2 * max(alive, 1)
	return min(candidates, 2+(candidates+each-1)/each)
}

// pick chooses n addresses, those first that were not tried in this turn. When
// all were, it begins the next turn.
func pick(candidates []string, n int, tried map[string]bool) []string {
	rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	picked := make([]string, 0, n)
	take := func() {
		for _, addr := range candidates {
			if len(picked) < n && !tried[addr] && !slices.Contains(picked, addr) {
				picked = append(picked, addr)
				tried[addr] = true
			}
		}
	}
	if take(); len(picked) < n {
		clear(tried)
		take()
	}
	return picked
}

// candidates are the addresses of members that are not alive, and seeds at
// which nobody alive is.
func (m *Membership) candidates(ctx context.Context) []string {
	skip := map[string]bool{m.advertise.String(): true}
	var out []string
	add := func(addr string) {
		if !skip[addr] {
			skip[addr] = true
			out = append(out, addr)
		}
	}
	members := m.table.all()
	for _, row := range members {
		if row.State <= Suspect {
			skip[row.Addr()] = true
		}
	}
	for _, row := range members {
		add(row.Addr())
	}
	if m.cfg.Seeds != nil {
		for _, seed := range m.cfg.Seeds() {
			for _, addr := range m.resolve(ctx, seed) {
				add(addr)
			}
		}
	}
	return out
}

// resolve turns a seed into addresses. Only a seed that is a name asks a server.
func (m *Membership) resolve(ctx context.Context, seed string) []string {
	if a, err := literal(seed); err == nil {
		return []string{a.String()}
	}
	host, text, err := net.SplitHostPort(seed)
	if err == nil {
		var port uint64
		if port, err = strconv.ParseUint(text, 10, 16); err == nil {
			return m.lookup(ctx, host, uint16(port))
		}
	}
	m.log.Warn("seed unusable", "addr", seed, "err", err)
	return nil
}

func (m *Membership) lookup(ctx context.Context, host string, port uint16) []string {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		m.log.Debug("seed unknown", "addr", host, "err", err)
		return nil
	}
	var out []string
	for _, ip := range ips {
		out = append(out, hostPort(ip.Unmap().String(), port))
	}
	return out
}
