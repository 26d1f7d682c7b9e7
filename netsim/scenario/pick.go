package scenario

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
)

// A Pick says which machines, in words:
//
//	cart-3 base-1            by name
//	robots, base, operator   all of a kind; all is every machine
//	model=quad site=north    by model, or by another label; group=cart by group
//	leader, followers, voters, canaries, cohort, phase=armed, running=1.1
//	                         by what is so at that moment
//	3, random 3, 25%         that many of the robots, by seed
//	random 25% of model=quad, majority of voters
//	robots but leader        all except
//
// Several terms in a row mean each of them. The zero Pick is nobody.
type Pick struct {
	// Amount is how many of Of, less But, are drawn; nil is all of them.
	Amount *Amount
	Of     []Term // any of these
	But    []Term // and none of these
}

// A Term is one word of a pick. Without a Value, Key is a name or a word of Kinds.
type Term struct{ Key, Value string }

// The words of a Term that are not names.
const (
	All, Robots, Bases, Operators                  = "all", "robots", "base", "operator"
	Leader, Followers, TheVoters, Canaries, Opened = "leader", "followers", "voters", "canaries", "cohort"
)

// Keys with a meaning of their own; any other key is a label.
const (
	keyModel, keyGroup, keyPhase, keyRunning = "model", "group", "phase", "running"
)

var (
	staticWords = []string{All, Robots, Bases, Operators}
	truthWords  = []string{Leader, Followers, TheVoters, Canaries, Opened}
	grammar     = []string{"random", "of", "but", "majority"}
)

// valuePattern is what follows the = of a term.
var valuePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+:@-]{0,63}$`)

// reserved reports whether a machine cannot be called name.
func reserved(name string) bool {
	return slices.Contains(staticWords, name) || slices.Contains(truthWords, name) || slices.Contains(grammar, name)
}

// String is the term as it is written.
func (t Term) String() string {
	if t.Value != "" {
		return t.Key + "=" + t.Value
	}
	return t.Key
}

// Truth reports whether only the run itself can tell who t is.
func (t Term) Truth() bool {
	if t.Value != "" {
		return t.Key == keyPhase || t.Key == keyRunning
	}
	return slices.Contains(truthWords, t.Key)
}

// Truth reports whether p depends on what happens in the run.
func (p Pick) Truth() bool {
	return slices.ContainsFunc(p.Of, Term.Truth) || slices.ContainsFunc(p.But, Term.Truth)
}

// Named is the pick of machines by name.
func Named(names ...string) Pick {
	var p Pick
	for _, n := range names {
		p.Of = append(p.Of, Term{Key: n})
	}
	return p
}

// IsZero reports whether p is nobody, as opposed to somebody who is not there.
func (p Pick) IsZero() bool { return p.Amount == nil && len(p.Of) == 0 && len(p.But) == 0 }

var errPick = errors.New("want names, kinds, label=value or an amount (3, 25%, majority), perhaps with of and but")

// UnmarshalText reads a pick.
func (p *Pick) UnmarshalText(text []byte) error {
	*p = Pick{}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return fmt.Errorf("a pick of nobody: %w", errPick)
	}
	drawn := words[0] == "random"
	if drawn {
		words = words[1:]
	}
	var a Amount
	if len(words) > 0 && (words[0] == "majority" || words[0][0] >= '0' && words[0][0] <= '9') {
		if err := a.UnmarshalText([]byte(words[0])); err != nil {
			return err
		}
		p.Amount, words = &a, words[1:]
		if len(words) > 0 && words[0] == "of" {
			if words = words[1:]; len(words) == 0 {
				return fmt.Errorf("%q: of whom? %w", text, errPick)
			}
		} else if len(words) > 0 && words[0] != "but" {
			return fmt.Errorf("%q: after an amount comes of or but, not %q", text, words[0])
		}
	} else if drawn {
		return fmt.Errorf("%q: random how many? write random 3, random 25%% of voters", text)
	}
	return p.terms(string(text), words)
}

// terms reads what follows the amount.
func (p *Pick) terms(text string, words []string) error {
	to := &p.Of
	for i, w := range words {
		if w == "but" {
			if to == &p.But || i+1 == len(words) {
				return fmt.Errorf("%q: but whom? %w", text, errPick)
			}
			to = &p.But
			continue
		}
		key, value, is := strings.Cut(w, "=")
		t := Term{Key: key, Value: value}
		if slices.Contains(grammar, w) || (is && value == "") {
			return fmt.Errorf("%q: %q in this place; %w", text, w, errPick)
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		*to = append(*to, t)
	}
	if len(p.Of) == 0 {
		p.Of = []Term{{Key: Robots}}
	}
	return nil
}

func (t Term) check() error {
	switch {
	case !manifest.ValidName(t.Key) || (t.Value == "" && slices.Contains(grammar, t.Key)) || (t.Value != "" && !valuePattern.MatchString(t.Value)):
		return fmt.Errorf("%q is no name, kind or label=value", t)
	case t.Value == "" && (t.Key == keyModel || t.Key == keyPhase || t.Key == keyGroup || t.Key == keyRunning):
		return fmt.Errorf("%s= what?", t.Key)
	case t.Key == keyPhase && !slices.Contains(robotPhases, t.Value) && t.Value != "idle":
		return fmt.Errorf("no phase %q; there is idle, %s", t.Value, strings.Join(robotPhases, ", "))
	}
	return nil
}

// Check reports a pick that its own words make impossible.
func (p Pick) Check() error {
	if p.IsZero() {
		return nil // where somebody is needed, the owner of the field says so
	}
	if p.Amount != nil {
		if err := p.Amount.Check(); err != nil {
			return err
		}
		if *p.Amount == (Amount{}) {
			return errors.New("a pick of 0 machines")
		}
	}
	if len(p.Of) == 0 {
		return errPick
	}
	for _, t := range slices.Concat(p.Of, p.But) {
		if err := t.check(); err != nil {
			return err
		}
	}
	return nil
}

// String undoes UnmarshalText.
func (p Pick) String() string {
	var words []string
	all := len(p.Of) == 1 && p.Of[0] == Term{Key: Robots}
	if p.Amount != nil {
		a, err := p.Amount.MarshalText()
		if err != nil {
			return err.Error()
		}
		if !p.Amount.Majority {
			words = append(words, "random")
		}
		if words = append(words, string(a)); !all {
			words = append(words, "of")
		}
	}
	if p.Amount == nil || !all {
		for _, t := range p.Of {
			words = append(words, t.String())
		}
	}
	for i, t := range p.But {
		if i == 0 {
			words = append(words, "but")
		}
		words = append(words, t.String())
	}
	return strings.Join(words, " ")
}

// MarshalText is String.
func (p Pick) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Choose is who p means: names without repetition. who says which machines a term
// names, in an order that is the same in every run; draw is the seed of the
// amount's choice. Without an amount the order is that of the terms, with one it
// is the order in which they were drawn.
func (p Pick) Choose(draw uint64, who func(Term) []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, t := range p.But {
		for _, name := range who(t) {
			seen[name] = true
		}
	}
	for _, t := range p.Of {
		for _, name := range who(t) {
			if !seen[name] {
				seen[name] = true
				list = append(list, name)
			}
		}
	}
	if p.Amount == nil {
		return list
	}
	r := rand.New(rand.NewPCG(draw, uint64(len(list))))
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:p.Amount.Of(len(list))]
}
