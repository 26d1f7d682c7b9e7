package strict

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hue is a word with a notation of its own.
type hue struct{ n int }

func (h *hue) UnmarshalText(text []byte) error {
	if _, err := fmt.Sscanf(string(text), "hue %d", &h.n); err != nil {
		return fmt.Errorf("%q is no hue", text)
	}
	return nil
}
func (h hue) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "hue %d", h.n), nil }

type spot struct{ x, y float64 }

func (s spot) Numbers() []float64 { return []float64{s.x, s.y} }
func (s *spot) SetNumbers(l []float64) error {
	if len(l) != 2 {
		return errors.New("a spot has 2 numbers")
	}
	s.x, s.y = l[0], l[1]
	return nil
}

type Shared struct {
	Lit bool `yaml:"lit"`
}

type lamp struct {
	Name   string            `yaml:"name"`
	Mode   string            `yaml:"mode" default:"on" oneof:"on off blink"`
	Watts  int               `yaml:"watts" default:"60" min:"1" max:"100"`
	Burn   time.Duration     `yaml:"burn" default:"10m"`
	Delay  *time.Duration    `yaml:"delay" max:"1h"`
	At     spot              `yaml:"at"`
	Hue    hue               `yaml:"hue" default:"hue 3"`
	Tags   []string          `yaml:"tags,one"`
	Labels map[string]string `yaml:"labels"`
	Id     uint64            `yaml:"id"`
	F      float64           `yaml:"f"`
	Shared `yaml:",inline"`
	Inner  struct {
		Depth int `yaml:"depth" default:"2"`
	} `yaml:"inner"`
	Next *lamp `yaml:"next"`
}

type house struct {
	Lamps []lamp `yaml:"lamps"`
	Front lamp   `yaml:"front"`
	Rooms []spot `yaml:"rooms" default:"[[1, 2]]"`
}

func TestErrorsShowThePlace(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown key, near another", "lamps:\n  - {nam: x}\n",
			"a.yaml:2:6: no key \"nam\" here; did you mean \"name\"?\n    2 |   - {nam: x}\n      |      ^"},
		{"unknown key, near none", "doors: 3\n",
			"a.yaml:1:1: no key \"doors\" here; there is lamps, front, rooms\n    1 | doors: 3\n      | ^"},
		{"twice", "front: {name: a, name: b}\n",
			"a.yaml:1:18: key \"name\" stands here twice\n    1 | front: {name: a, name: b}\n      |                  ^"},
		{"list wanted", "lamps: 3\n", "a.yaml:1:8: want a list, got \"3\"\n    1 | lamps: 3\n      |        ^"},
		{"list wanted, lines given", "lamps:\n  a: 1\n", "a.yaml:2:3: want a list, got keys and values\n    2 |   a: 1\n      |   ^"},
		{"nothing", "front:\nlamps: []\n", "a.yaml:1:1: want keys and values, got nothing\n    1 | front:\n      | ^"},
		{"number wanted", "front: {watts: many}\n", "a.yaml:1:16: want a whole number, got \"many\"\n    1 | front: {watts: many}\n      |                ^"},
		{"number in quotes", "front: {watts: \"3\"}\n", "a.yaml:1:16: want a whole number, got \"3\"\n    1 | front: {watts: \"3\"}\n      |                ^"},
		{"text wanted", "front: {name: true}\n", "a.yaml:1:15: want text, got \"true\"\n    1 | front: {name: true}\n      |               ^"},
		{"time", "front: {burn: soon}\n", "a.yaml:1:15: \"soon\" is no time: write 30s, 6m, 1h30m or 14d\n    1 | front: {burn: soon}\n      |               ^"},
		{"own notation", "front: {hue: red}\n", "a.yaml:1:14: \"red\" is no hue\n    1 | front: {hue: red}\n      |              ^"},
		{"numbers", "front: {at: [1]}\n", "a.yaml:1:13: a spot has 2 numbers\n    1 | front: {at: [1]}\n      |             ^"},
		{"not a number", "front: {at: [1, up]}\n", "a.yaml:1:17: want a number, got \"up\"\n    1 | front: {at: [1, up]}\n      |                 ^"},
		{"columns count characters", "front: {name: \"é\", watts: x}\n", "a.yaml:1:27: want a whole number, got \"x\"\n    1 | front: {name: \"é\", watts: x}\n      |                           ^"},
		{"syntax", "front: {name: a\n", "a.yaml:1:8: could not find flow mapping end token '}'\n    1 | front: {name: a\n      |        ^"},
		{"anchor", "front: &x {}\n", "a.yaml:1:8: anchor: anchors, aliases, tags and merge keys are not used here\n    1 | front: &x {}\n      |        ^"},
		{"tag", "front: !!map {}\n", "a.yaml:1:8: tag: anchors, aliases, tags and merge keys are not used here\n    1 | front: !!map {}\n      |        ^"},
		{"two documents", "front: {}\n---\nlamps: []\n", "a.yaml:3:6: a second document: a file holds one\n    3 | lamps: []\n      |      ^"},
		{"control character", "front: {name: \"a\x01\"}\n", "a.yaml:1:17: a character that is not text (U+0001)\n    1 | front: {name: \"a\x01\"}\n      |                 ^"},
		{"escape of one", "front: {name: \"a\\u0007\"}\n", "a.yaml:1:15: text of one line, without control characters, is wanted\n    1 | front: {name: \"a\\u0007\"}\n      |               ^"},
		{"many at once", "front: {watts: x, burn: y}\n", "a.yaml:1:16: want a whole number, got \"x\"\n    1 | front: {watts: x, burn: y}\n      |                ^\n" +
			"a.yaml:1:25: \"y\" is no time: write 30s, 6m, 1h30m or 14d\n    1 | front: {watts: x, burn: y}\n      |                         ^"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode("a.yaml", []byte(c.in), new(house))
			require.EqualError(t, err, c.want)
			var p *Problem
			require.ErrorAs(t, err, &p)
		})
	}
}

func TestDeepAndLargeDocumentsAreRefused(t *testing.T) {
	for name, in := range map[string]string{
		"brackets":   strings.Repeat("[", 100_000),
		"deep lists": "a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"deep lines": deepLines(200),
		"dashes":     strings.Repeat("- ", 100_000) + "a",
		"size":       strings.Repeat("# \n", MaxBytes),
	} {
		_, err := Decode("a.yaml", []byte(in), new(house))
		require.Error(t, err, name)
	}
}

func deepLines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestPrintsWhatIsNotDefault(t *testing.T) {
	in := `lamps:
  - {}
  - name: b
    mode: "off"
    tags: desk
    labels: {"a: b": "x, y", z: "null"}
    next: {watts: 1, next: {burn: 1h30m, delay: 0s, tags: [one, "two ", "on"], at: [-0, 1]}}
    hue: hue 4
  - {name: "#", at: [1.5, -2], id: 18446744073709551615, f: 0.1, lit: true, inner: {depth: 0}}
front: {tags: [it's "quoted" \ and ünïcode]}
rooms: []
`
	var h house
	_, err := Decode("a.yaml", []byte(in), &h)
	require.NoError(t, err)
	require.Equal(t, 60, h.Lamps[0].Watts)
	require.Equal(t, 2, h.Front.Inner.Depth)
	require.Nil(t, h.Rooms)
	out := Encode(&h)
	require.Equal(t, `lamps:
  - {}
  - name: b
    mode: "off"
    hue: hue 4
    tags: desk
    labels: {"a: b": "x, y", z: "null"}
    next: {watts: 1, next: {burn: 1h30m, delay: 0s, at: [0, 1], tags: [one, "two ", "on"]}}
  - {name: "#", at: [1.5, -2], id: 18446744073709551615, f: 0.1, lit: true, inner: {depth: 0}}
front: {tags: "it's \"quoted\" \\ and ünïcode"}
rooms: []
`, string(out))
	var again house
	_, err = Decode("b.yaml", out, &again)
	require.NoError(t, err)
	require.Equal(t, h, again)
	require.Equal(t, "{}\n", string(Encode(&house{Rooms: []spot{{1, 2}}, Front: filled()})))
}

func filled() (l lamp) { Fill(&l); return l }

func TestFillAndClone(t *testing.T) {
	h := house{Lamps: []lamp{{Name: "a", Next: &lamp{}, Tags: []string{"x"}, Labels: map[string]string{"k": "v"}}}}
	Fill(&h)
	require.Equal(t, 60, h.Lamps[0].Next.Watts)
	require.Equal(t, []spot{{1, 2}}, h.Rooms)
	c := Clone(&h)
	require.Equal(t, &h, c)
	c.Lamps[0].Next.Watts, c.Lamps[0].Tags[0], c.Lamps[0].Labels["k"] = 1, "y", "w"
	require.Equal(t, 60, h.Lamps[0].Next.Watts)
	require.Equal(t, "x", h.Lamps[0].Tags[0])
	require.Equal(t, "v", h.Lamps[0].Labels["k"])
}

func TestCheckKnowsBounds(t *testing.T) {
	var h house
	doc, err := Decode("a.yaml", []byte("front: {watts: 101, mode: dim, burn: -1s, f: 1e9}\nlamps: [{next: {delay: 2h}}]\nrooms: [[1e300, 0]]\n"), &h)
	require.NoError(t, err)
	var got []string
	Check(&h, func(path, message string) { got = append(got, doc.At(path, message).Error()) })
	require.Equal(t, []string{
		"a.yaml:2:24: 2h is out of bounds: want 0s to 1h\n    2 | lamps: [{next: {delay: 2h}}]\n      |                        ^",
		"a.yaml:1:27: \"dim\": want on, off or blink\n    1 | front: {watts: 101, mode: dim, burn: -1s, f: 1e9}\n      |                           ^",
		"a.yaml:1:16: 101 is out of bounds: want 1 to 100\n    1 | front: {watts: 101, mode: dim, burn: -1s, f: 1e9}\n      |                ^",
		"a.yaml:1:38: -1s is out of bounds: want 0s to 365d\n    1 | front: {watts: 101, mode: dim, burn: -1s, f: 1e9}\n      |                                      ^",
		"a.yaml:1:46: 1000000000 is out of bounds: want -1048576 to 1048576\n    1 | front: {watts: 101, mode: dim, burn: -1s, f: 1e9}\n      |                                              ^",
		"a.yaml:3:9: 1" + strings.Repeat("0", 300) + " is out of bounds: want -1048576 to 1048576\n    3 | rooms: [[1e300, 0]]\n      |         ^",
	}, got)
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]string{"6m": "6m", "6m0s": "6m", "60m": "1h", "1h30m": "1h30m", "90s": "1m30s", "0s": "0s", "24h": "1d",
		"14d": "14d", "1d12h": "36h", "8192ms": "8.192s", "-2h": "-2h", "-3d": "-3d", "10s": "10s"} {
		d, err := ParseDuration(in)
		require.NoError(t, err, in)
		require.Equal(t, want, FormatDuration(d), in)
		again, err := ParseDuration(want)
		require.NoError(t, err)
		require.Equal(t, d, again)
	}
	for _, in := range []string{"", "3", "d", "1d-2h", "-1d2h", "1.5d", "999999999d", "100000d99999999h", "day"} {
		_, err := ParseDuration(in)
		require.Error(t, err, in)
	}
}

// What decodes prints back to something that decodes to an equal value.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("lamps: [{name: a, at: [1, 2], labels: {x: y}}]\nfront: {burn: 1h, next: {}}\n"))
	f.Add([]byte("rooms: []\nfront: {name: \"a\\tb\", tags: [\"\", \" \", '-', '1', \"true\"]}\n"))
	f.Add([]byte("? [a"))
	f.Add([]byte("front:\n  name: >-\n    folded\n    text\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var h, again house
		if _, err := Decode("a.yaml", data, &h); err != nil {
			return
		}
		text := Encode(&h)
		_, err := Decode("b.yaml", text, &again)
		require.NoError(t, err, "%s", text)
		require.Equal(t, h, again, "%s", text)
		require.Equal(t, string(text), string(Encode(&again)))
	})
}
