package scenario

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "%s; -update writes it anew", file)
}

// everything.yaml says every key there is, in forms that Print does not choose.
func everything(t *testing.T) *Scenario {
	t.Helper()
	in, err := os.ReadFile("testdata/everything.yaml")
	require.NoError(t, err)
	s, err := Parse("everything.yaml", in)
	require.NoError(t, err)
	return s
}

func TestPrintIsCanonical(t *testing.T) {
	s := everything(t)
	text := s.Print()
	golden(t, "testdata/everything.golden", text)
	again, err := Parse("again", text)
	require.NoError(t, err)
	require.Equal(t, s, again)
}

func TestEverythingSaysEveryKey(t *testing.T) {
	text := string(everything(t).Print())
	for _, key := range keysOf(reflect.TypeFor[Scenario](), nil) {
		if key == "safety" { // all, its default, is the only one that goes with except
			continue
		}
		require.Regexp(t, `(^|[\s{])`+key+`:`, text)
	}
}

// keysOf collects the keys of t and of what lies in it.
func keysOf(t reflect.Type, keys []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keysOf(t.Elem(), keys)
	case reflect.Struct:
		for i := range t.NumField() {
			if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key != "" && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			keys = keysOf(t.Field(i).Type, keys)
		}
	}
	return keys
}

func TestCloneSharesNothing(t *testing.T) {
	s := everything(t)
	c := s.Clone()
	require.Equal(t, s, c)
	text := string(s.Print())
	c.Fleet[0].Labels["site"] = "moon"
	c.Faults[0].Partition.Shares[0] = 1
	*c.Story[0].At = 1
	require.Equal(t, text, string(s.Print()))
}

// What parses prints back to an equal scenario, whose text is its own canonical
// form; counted out and shrunk it stays valid.
func FuzzParse(f *testing.F) {
	for _, e := range Library() {
		f.Add(e.Source)
	}
	for _, file := range []string{"testdata/everything.yaml", "testdata/bad.yaml"} {
		in, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("fuzz", data)
		if err != nil {
			require.Nil(t, s)
			require.ErrorIs(t, err, ErrScenario)
			return
		}
		text := s.Print()
		again, err := Parse("again", text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, s, again, "%s", text)
		require.Equal(t, string(text), string(again.Print()))
		require.NoError(t, again.Validate())
		if len(s.Machines()) < 100 && s.Duration < 1e13 {
			r := s.Replay(s.Seed)
			if len(r.Print()) < 1<<17 {
				require.NoError(t, r.Validate(), "%s", r.Print())
			}
		}
	})
}
