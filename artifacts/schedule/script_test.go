package schedule

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// The scripts say, one command a line:
//
//	fetch pieces=N kib=N [have=(0,1)]   a fetch of N pieces, seconds start at 0
//	join P [have=(0,1)|all] [seed]      and leave P, has P 0 1, lacks P 0, offered P 0,
//	                                    got P 0, refused P 0, ended P 0, heard P, strike P, lost 0
//	soon P 0 1, crossing                what a mate fetches from across; what we do
//	self NAME                           how the others call us
//	next [+DURATION]                    time passes; prints what is asked and given up
//	deadline                            prints when Next wants to be called
//
//	offers pieces=N [mine=(0,1)]        a seed; all is its own if mine is not said
//	next, safe                          prints what is offered; whether the seed may leave

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	t      *testing.T
	pieces int
	fetch  *Fetch
	offers *Offers
	now    time.Duration
}

var epoch = time.Unix(0, 0)

func (s *script) at() time.Time { return epoch.Add(s.now) }

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.t = t
	var out strings.Builder
	for _, line := range append([]string{d.Cmd + " " + args(d)}, strings.Split(d.Input, "\n")...) {
		if words := strings.Fields(line); len(words) > 0 {
			s.line(&out, words)
		}
		if s.fetch != nil {
			require.NoError(t, s.fetch.check(), "%s: %s", d.Pos, line)
		}
		if s.offers != nil {
			require.NoError(t, s.offers.check(), "%s: %s", d.Pos, line)
		}
	}
	if out.Len() == 0 {
		return "ok"
	}
	return out.String()
}

func args(d *datadriven.TestData) string {
	var b strings.Builder
	for _, a := range d.CmdArgs {
		b.WriteString(a.String() + " ")
	}
	return strings.ReplaceAll(b.String(), ", ", ",")
}

// option returns the value of key=value among the words.
func option(words []string, key string) string {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return v
		}
	}
	return ""
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

// set reads (0,1), all, or nothing.
func (s *script) set(v string) manifest.Bitmap {
	var b manifest.Bitmap
	if v == "all" {
		for i := range s.pieces {
			b = b.With(i)
		}
		return b
	}
	for _, w := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune("(), ", r) }) {
		b = b.With(number(s.t, w))
	}
	return b
}

func (s *script) line(out *strings.Builder, words []string) {
	switch words[0] {
	case "fetch":
		s.pieces = number(s.t, option(words, "pieces"))
		sizes := make([]int64, s.pieces)
		for i := range sizes {
			sizes[i] = int64(number(s.t, option(words, "kib"))) << 10
		}
		s.fetch, s.offers, s.now = NewFetch(sizes, s.set(option(words, "have")), rand.New(rand.NewPCG(1, 1))), nil, 0
	case "offers":
		s.pieces = number(s.t, option(words, "pieces"))
		s.offers, s.fetch = NewOffers(s.pieces, rand.New(rand.NewPCG(1, 1))), nil
		mine := option(words, "mine")
		if mine == "" {
			mine = "all"
		}
		s.offers.Mine(s.set(mine))
	default:
		if s.fetch != nil {
			s.fetchLine(out, words)
		} else {
			s.offersLine(out, words)
		}
	}
}

// numbers reads the pieces that follow a peer's name.
func (s *script) numbers(words []string) []uint32 {
	var out []uint32
	for _, w := range words {
		out = append(out, uint32(number(s.t, w)))
	}
	return out
}

func (s *script) fetchLine(out *strings.Builder, words []string) {
	f := s.fetch
	var p Peer
	piece := -1
	if len(words) > 1 {
		p = Peer(words[1])
	}
	if len(words) > 2 {
		piece, _ = strconv.Atoi(words[2])
	}
	switch words[0] {
	case "join":
		f.Join(p, s.set(option(words, "have")), words[len(words)-1] == "seed")
	case "leave":
		f.Leave(p)
	case "has":
		f.Has(p, s.numbers(words[2:]))
	case "lacks":
		f.Lacks(p, s.numbers(words[2:]))
	case "soon":
		f.Soon(p, s.numbers(words[2:]))
	case "self":
		f.SetSelf(p)
	case "crossing":
		fmt.Fprintf(out, "crossing %v\n", f.Crossing().All())
	case "offered":
		f.Offered(p, piece)
	case "got":
		f.Got(p, piece, s.at())
	case "refused":
		f.Refused(p, piece)
	case "ended":
		f.Ended(p, piece)
	case "heard":
		f.Heard(p, s.at())
	case "lost":
		f.Lost(number(s.t, words[1]))
	case "strike":
		fmt.Fprintf(out, "strike %s out=%v\n", p, f.Strike(p))
	case "deadline":
		if at := f.Deadline(); at.IsZero() {
			fmt.Fprintln(out, "deadline never")
		} else {
			fmt.Fprintf(out, "deadline +%v\n", at.Sub(epoch))
		}
	case "next":
		if len(words) > 1 {
			d, err := time.ParseDuration(words[1])
			require.NoError(s.t, err)
			s.now += d
		}
		s.next(out)
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}

func (s *script) next(out *strings.Builder) {
	asks := s.fetch.Next(s.at())
	for _, a := range asks {
		verb := "ask"
		if a.Abandon {
			verb = "give up"
		}
		if a.Recall {
			verb = "recall"
		}
		fmt.Fprintf(out, "+%v %s %s %d\n", s.now, verb, a.Peer, a.Piece)
	}
	switch {
	case s.fetch.Done():
		fmt.Fprintf(out, "+%v done\n", s.now)
	case len(asks) == 0:
		fmt.Fprintf(out, "+%v nothing, %d missing\n", s.now, s.fetch.Missing())
	}
}

func (s *script) offersLine(out *strings.Builder, words []string) {
	o := s.offers
	var p Peer
	if len(words) > 1 {
		p = Peer(words[1])
	}
	switch words[0] {
	case "join":
		o.Join(p, s.set(option(words, "have")))
	case "leave":
		o.Leave(p)
	case "forget":
		o.Forget(p)
	case "has":
		o.Has(p, s.numbers(words[2:]))
	case "lacks":
		o.Lacks(p, s.numbers(words[2:]))
	case "asked":
		o.Asked(p, number(s.t, words[2]))
	case "mine":
		o.Mine(s.set(words[1]))
	case "safe":
		fmt.Fprintf(out, "safe=%v\n", o.Safe())
	case "outstanding":
		fmt.Fprintf(out, "outstanding %s %v\n", p, o.Outstanding(p).All())
	case "next":
		offers := o.Next()
		for _, x := range offers {
			fmt.Fprintf(out, "offer %s %d\n", x.Peer, x.Piece)
		}
		if len(offers) == 0 {
			fmt.Fprintln(out, "nothing")
		}
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}
