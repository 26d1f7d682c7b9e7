package api_test

import (
	"encoding"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/join"
)

var update = flag.Bool("update", false, "write testdata anew")

// Programs depend on these keys: a diff that takes a line away needs a new number
// in the schema's name.
func TestKeysOfTheAPI(t *testing.T) {
	var b strings.Builder
	for _, v := range []struct {
		schema string
		of     any
	}{
		{node.StatusSchema, node.Status{}}, {node.NodesSchema, node.Nodes{}}, {node.ReleasesSchema, node.Releases{}},
		{node.RolloutsSchema, node.Rollouts{}}, {node.RolloutDetailSchema, node.RolloutDetail{}}, {node.ExplainSchema, node.Explanation{}},
		{node.GateSchema, node.GateView{}}, {node.ConditionsSchema, node.Conditions{}}, {"starling.revocation/v1", node.Revocation{}}, {"starling.halt/v1", node.Halting{}},
		{"starling.imported/v1", api.Imported{}}, {node.PacksSchema, node.Packs{}}, {node.StoreSchema, node.StoreView{}}, {node.StoreCheckSchema, node.StoreCheck{}}, {node.CollectedSchema, node.Collected{}}, {api.DoneSchema, api.Outcome{}}, {"starling.health/v1", api.Health{}},
		{api.ProblemSchema, api.Problem{}}, {"event", node.Event{}}, {"gap", api.Gap{}}, {"invite", join.Invite{}},
	} {
		fmt.Fprintf(&b, "%s\n", v.schema)
		keys(&b, "  ", reflect.TypeOf(v.of))
	}
	file := filepath.Join("testdata", "keys.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// keys writes the JSON keys of a type with what they hold, one a line.
func keys(b *strings.Builder, prefix string, t reflect.Type) {
	text := reflect.TypeFor[encoding.TextMarshaler]()
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		in, mark := f.Type, ""
		for !in.Implements(text) && (in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice) {
			if in.Kind() == reflect.Slice {
				mark = "[]"
			}
			in = in.Elem()
		}
		switch {
		case f.Anonymous && name == "":
			keys(b, prefix, in)
		case name == "" || name == "-":
		case in.Kind() == reflect.Struct && !in.Implements(text):
			fmt.Fprintf(b, "%s%s%s\n", prefix, name, mark)
			keys(b, prefix+"  ", in)
		case in.Implements(text):
			fmt.Fprintf(b, "%s%s%s text\n", prefix, name, mark)
		default:
			fmt.Fprintf(b, "%s%s%s %s\n", prefix, name, mark, in.Kind())
		}
	}
}
