package gossip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/gossip/member"
)

func TestConverge(t *testing.T) {
	for _, profile := range []Profile{LAN, Mesh, Local, Narrow} {
		t.Run(profile.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *swarm) {
				nodes := s.startAll(5, func(c *Config) { c.Profile = profile })
				s.within(settle, "five members see each other", func() bool { return allAlive(nodes) })
				m, ok := nodes[4].Lookup(2)
				require.True(t, ok)
				require.Equal(t, "10.0.0.3:7946", m.Addr())
				require.Equal(t, Meta{Bulk: 4002, Control: 5000}, m.Meta)
				<-nodes[4].Changes()
			})
		})
	}
}

// A node outside the roster with the right key comes in through an exchange of
// states. Nobody shows it, and a member that comes in after it is not hindered.
func TestStranger(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		admit := func(c *Config) {
			c.Admit = func(i member.Index, host string) bool { return i < 5 && host != "10.0.0.9" }
		}
		nodes := s.startAll(3, admit)
		s.within(settle, "three members", func() bool { return allAlive(nodes) })
		s.start(7) // not in the roster
		s.startAt(4, "10.0.0.9:7946")
		time.Sleep(time.Minute)
		require.True(t, allAlive(nodes), "the stranger is not shown")
		require.NotZero(t, nodes[0].Stats().StrangersRefused)
		nodes = append(nodes, s.start(3, admit))
		s.within(settle, "a member joins after the stranger", func() bool { return allAlive(nodes) })
	})
}

// A member that is struck from the roster disappears at the next round.
func TestRevoked(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		revoked := make(chan struct{})
		nodes := s.startAll(3, func(c *Config) {
			c.Admit = func(i member.Index, _ string) bool {
				select {
				case <-revoked:
					return i != 2
				default:
					return true
				}
			}
		})
		s.within(settle, "three members", func() bool { return allAlive(nodes) })
		close(revoked)
		s.within(settle, "two members", func() bool { return allAlive(nodes[:2]) })
	})
}

func TestOtherSwarmsAreIgnored(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"wrong key":   func(c *Config) { c.Keys = [][]byte{[]byte("another key, just as long as that")[:32]} },
		"wrong label": func(c *Config) { c.Swarm = "yard" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *swarm) {
				nodes := s.startAll(2)
				s.within(settle, "two members", func() bool { return allAlive(nodes) })
				other := s.start(2, change)
				time.Sleep(5 * time.Minute)
				require.True(t, allAlive(nodes))
				require.True(t, allAlive([]*node{other}), "alone")
				require.Greater(t, other.Stats().JoinsTried, uint64(5))
				require.Zero(t, other.Stats().JoinsDone)
			})
		})
	}
}

// The rejoin loop heals what memberlist cannot: after GossipToTheDead both
// sides have forgotten each other.
func TestPartitionHeals(t *testing.T) {
	for _, c := range []struct {
		length          time.Duration
		members, border int
		profile         Profile
	}{
		{10 * time.Second, 6, 3, Mesh},
		{2 * time.Minute, 6, 3, Mesh},
		{10 * time.Minute, 6, 3, Mesh},
		{10 * time.Minute, 6, 3, LAN},
		{time.Hour, 4, 3, Mesh},
		{24 * time.Hour, 2, 1, Mesh},
		{time.Hour, 6, 3, Narrow},
	} {
		t.Run(fmt.Sprintf("%v %v %d of %d", c.length, c.profile, c.border, c.members), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *swarm) {
				nodes := s.startAll(c.members, func(cfg *Config) { cfg.Profile, cfg.Seeds = c.profile, seedOnce(cfg.Seeds) })
				s.within(settle, "whole", func() bool { return allAlive(nodes) })
				s.net.lose(split(c.border))
				time.Sleep(c.length)
				if c.length >= 10*time.Minute {
					require.True(t, nodes[0].sees(c.members-1, Dead))
					require.True(t, nodes[c.members-1].sees(0, Dead))
				}
				s.net.lose(nil)
				took := s.within(6*c.profile.Rejoin(), "healed", func() bool { return allAlive(nodes) })
				t.Logf("healed after %v", took)
			})
		})
	}
}

// seedOnce gives the seeds for the first minute only: what heals a partition is
// the memory of the members.
func seedOnce(seeds func() []string) func() []string {
	began := time.Now()
	return func() []string {
		if time.Since(began) > time.Minute {
			return nil
		}
		return seeds()
	}
}

// Only the seeds know a way: a node forgets everything when it restarts.
func TestSeedsOfLateStarter(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		late := s.start(1)
		time.Sleep(10 * time.Minute)
		nodes := []*node{s.start(0), late}
		s.within(time.Minute, "the seed came last", func() bool { return allAlive(nodes) })
	})
}

func TestSuspectThenDead(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.halt(nodes[2])
		s.within(time.Minute, "suspect", func() bool { return nodes[0].sees(2, Suspect) })
		s.within(2*time.Minute, "dead", func() bool { return nodes[0].sees(2, Dead) && nodes[1].sees(2, Dead) })
		m, _ := nodes[0].Lookup(2)
		require.WithinDuration(t, time.Now(), m.Since, time.Minute)
	})
}

// A member that cannot be reached for a moment is cleared again.
func TestSuspectClears(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.net.lose(split(2))
		s.within(time.Minute, "suspect", func() bool { return nodes[0].sees(2, Suspect) || nodes[1].sees(2, Suspect) })
		s.net.lose(nil)
		s.within(time.Minute, "cleared", func() bool { return allAlive(nodes) })
	})
}

// Two robots with one card, both on: everybody who hears of both is told.
func TestCloneIsAConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		clone := s.startAt(1, "10.0.0.77:7946", mesh)
		want := []Conflict{{1, "10.0.0.2:7946", "10.0.0.77:7946"}, {1, "10.0.0.77:7946", "10.0.0.2:7946"}}
		for _, n := range []*node{nodes[0], clone} {
			require.Contains(t, want, <-n.Conflicts())
		}
	})
}

// A robot that died and came back under another address is no conflict, and is
// taken in once the others have given up on the old address.
func TestMovedIsNoConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.halt(nodes[1])
		nodes[1] = s.startAt(1, "10.0.0.77:7946", mesh)
		s.within(5*time.Minute, "back", func() bool {
			a, _ := nodes[0].Lookup(1)
			b, _ := nodes[2].Lookup(1)
			return a.Host == "10.0.0.77" && b.Host == "10.0.0.77" && allAlive(nodes)
		})
		for _, n := range nodes {
			require.Empty(t, n.Conflicts())
		}
	})
}

func TestSetMetaCoalesces(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		for i := range 1000 { // 100 s, ten changes a second
			nodes[0].SetMeta(Meta{Release: uint8(i), Phase: member.Fetching, Progress: uint8(i / 100)})
			time.Sleep(100 * time.Millisecond)
		}
		last := Meta{Release: 231, Phase: member.Fetching, Progress: 9} // 999 mod 256
		s.within(15*time.Second, "the last is known", func() bool {
			m, _ := nodes[2].Lookup(0)
			return m.Meta == last
		})
		updates := nodes[0].Stats().MetaUpdates
		require.LessOrEqual(t, updates, uint64(12))
		require.GreaterOrEqual(t, updates, uint64(9))

		nodes[0].SetMeta(Meta{Release: 1})
		nodes[0].SetMeta(last) // and back, before anybody was told
		time.Sleep(time.Minute)
		require.Equal(t, updates, nodes[0].Stats().MetaUpdates)
	})
}

// A key is given out, moved to the front, and the old one dropped, one member
// after the other: nobody is ever thought dead.
func TestSetKeys(t *testing.T) {
	next := []byte("fedcba9876543210fedcba9876543210")
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(4)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		for _, keys := range [][][]byte{{testKey, next}, {next, testKey}, {next}} {
			for _, n := range nodes {
				require.NoError(t, n.SetKeys(keys))
				time.Sleep(10 * time.Second)
				for i := range nodes {
					require.False(t, n.sees(i, Dead))
				}
			}
		}
		nodes = append(nodes, s.start(4, func(c *Config) { c.Keys = [][]byte{next} }))
		s.within(settle, "whole with the new key", func() bool { return allAlive(nodes) })
		require.ErrorIs(t, nodes[0].SetKeys(nil), ErrConfig)
		require.ErrorIs(t, nodes[0].SetKeys([][]byte{next[:16]}), ErrConfig)
	})
}

// follow lets a node do what a caller does: pull, and announce what it now holds.
func (n *node) follow() {
	go func() {
		for {
			select {
			case h := <-n.Pointers():
				n.Announce(h.Pointer)
			case <-n.done:
				return
			}
		}
	}()
}

func (n *node) holds(p Pointer) bool { return n.board.announced() == p }

func TestAnnounceReachesAll(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		lossy := newLoss(1, 5)
		s.net.lose(lossy)
		nodes := s.startAll(12)
		for _, n := range nodes {
			n.follow()
		}
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		nodes[3].Announce(pointer(7))
		took := s.within(10*time.Second, "all hold it", func() bool {
			for _, n := range nodes {
				if !n.holds(pointer(7)) {
					return false
				}
			}
			return true
		})
		t.Logf("all hold it after %v", took)
		nodes[5].Announce(pointer(6)) // older: ignored
		require.True(t, nodes[5].holds(pointer(7)))

		late := s.start(12)
		s.within(10*time.Second, "the late joiner is told", func() bool {
			select {
			case h := <-late.Pointers():
				return h.Pointer == pointer(7)
			default:
				return false
			}
		})
	})
}

// A member is out of reach while the broadcast goes round, too shortly to be
// dead. It learns of it from acknowledgements.
func TestAnnounceIsRepairedInAcks(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, func(c *Config) { c.Profile = Mesh })
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.net.lose(split(2))
		nodes[0].Announce(pointer(7))
		time.Sleep(8 * time.Second)
		require.Empty(t, nodes[0].queue.GetBroadcasts(0, 1000), "the broadcast is over")
		require.False(t, nodes[0].sees(2, Dead))
		s.net.lose(nil)
		s.within(30*time.Second, "it is told", func() bool {
			select {
			case h := <-nodes[2].Pointers():
				return h == Heard{pointer(7), 0}
			default:
				return false
			}
		})
	})
}

// newLoss loses share in 100 packets, evenly.
func newLoss(seed, share int) func(from, to netip.AddrPort) bool {
	n := seed
	return func(netip.AddrPort, netip.AddrPort) bool {
		n = (n*1103515245 + 12345) & 0x7fffffff
		return (n>>16)%100 < share
	}
}

// At 100 members the same measurement gives 0.8 kbit/s sent (LAN) and 0.5 (mesh).
func TestIdleTraffic(t *testing.T) {
	for profile, limit := range map[Profile]float64{LAN: 1000, Mesh: 700, Narrow: 150} {
		t.Run(profile.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *swarm) {
				nodes := s.startAll(12, func(c *Config) { c.Profile = profile })
				s.within(settle, "whole", func() bool { return allAlive(nodes) })
				nodes[0].Announce(pointer(1000))
				time.Sleep(time.Minute)
				before, began := nodes[6].Stats().SentBytes, time.Now()
				time.Sleep(3 * time.Minute)
				rate := float64(nodes[6].Stats().SentBytes-before) * 8 / time.Since(began).Seconds()
				t.Logf("%.0f bit/s", rate)
				require.Less(t, rate, limit)
			})
		})
	}
}

// Dusk: of twenty members two are left, and they lose each other for an hour.
// Neither knows which of the nineteen addresses is worth a try.
func TestPartitionHealsAmongTheDead(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(20, mesh, func(c *Config) { c.Seeds = seedOnce(c.Seeds) })
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		for _, n := range nodes[2:] {
			s.halt(n)
		}
		s.net.lose(split(1))
		time.Sleep(time.Hour)
		require.True(t, nodes[0].sees(1, Dead))
		s.net.lose(nil)
		took := s.within(3*time.Minute, "healed", func() bool { return nodes[0].sees(1, Alive) && nodes[1].sees(0, Alive) })
		t.Logf("healed after %v", took)
	})
}

// A robot restarts with another of its two addresses. The others still hear it
// at the old one, but it is the same run: no conflict.
func TestTwoAddressesAreNoConflict(t *testing.T) {
	inBubble(t, func(t *testing.T, s *swarm) {
		nodes := s.startAll(3, mesh)
		s.within(settle, "whole", func() bool { return allAlive(nodes) })
		s.halt(nodes[1])
		nodes[1] = s.startAt(1, "10.0.0.77:7946", mesh)
		s.net.alias(addrOf(1), nodes[1].host)
		time.Sleep(10 * time.Minute)
		require.True(t, allAlive(nodes))
		for _, n := range nodes {
			require.Empty(t, n.Conflicts())
		}
	})
}
