package strict

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// width is how many columns a line may have before its value is broken up.
const width = 100

// bareFlow and bareBlock are texts that need no quotes: in a flow, and on a line of
// their own.
var (
	bareFlow  = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./%+=()@ -]*$`)
	bareBlock = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./%+=()@,;'!? -]*$`)
)

// A writer lays out nodes.
type writer struct{ b strings.Builder }

// block writes a mapping, each entry on its own lines; the first one goes where the
// writer stands, so that it can follow a dash.
func (w *writer) block(n *node, indent int) {
	for i, e := range n.entries {
		if i > 0 {
			w.pad(indent)
		}
		key := scalar(&node{kind: quoted, text: e.key}, bareFlow)
		w.b.WriteString(key + ":")
		w.value(e.value, indent, indent+utf8.RuneCountInString(key)+2)
	}
}

// value writes what follows "key:", on the same line if it fits from column at.
func (w *writer) value(n *node, indent, at int) {
	line := oneLine(n, bareBlock)
	switch {
	case indent == 0 && n.kind == list && len(n.items) > 0 && n.items[0].kind == mapping:
	case n.kind == plain, n.kind == quoted, n.kind == word, at+utf8.RuneCountInString(line) <= width, len(n.items)+len(n.entries) == 0:
		w.b.WriteString(" " + line + "\n")
		return
	}
	w.b.WriteByte('\n')
	if n.kind == mapping {
		w.pad(indent + 2)
		w.block(n, indent+2)
		return
	}
	for _, item := range n.items {
		w.pad(indent + 2)
		w.b.WriteString("-")
		if line := oneLine(item, bareBlock); item.kind == mapping && len(item.entries) > 0 && indent+4+utf8.RuneCountInString(line) > width {
			w.b.WriteByte(' ')
			w.block(item, indent+4)
		} else {
			w.b.WriteString(" " + line + "\n")
		}
	}
}

func (w *writer) pad(n int) { w.b.WriteString(strings.Repeat(" ", n)) }

// oneLine is n on one line; a scalar by itself is bare if bare says so.
func oneLine(n *node, bare *regexp.Regexp) string {
	var parts []string
	switch n.kind {
	case list:
		for _, item := range n.items {
			parts = append(parts, oneLine(item, bareFlow))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case mapping:
		for _, e := range n.entries {
			parts = append(parts, scalar(&node{kind: quoted, text: e.key}, bareFlow)+": "+oneLine(e.value, bareFlow))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return scalar(n, bare)
}

// scalar is one word or text, in quotes where YAML, or another reader of it, would
// see something else.
func scalar(n *node, bare *regexp.Regexp) string {
	if n.kind == plain {
		return n.text
	}
	if bare.MatchString(n.text) && !strings.HasSuffix(n.text, " ") && !typed(n.text) && (n.kind == word || !ambiguous(n.text)) {
		return n.text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(n.text) + `"`
}

// ambiguous reports whether other readers of YAML may see a number, or yes and no,
// in text.
func ambiguous(s string) bool {
	switch strings.ToLower(s) {
	case "yes", "no", "on", "off":
		return true
	}
	return s[0] == '.' || (s[0] >= '0' && s[0] <= '9' && strings.Trim(s, "0123456789._+-xXoabcdefABCDEF") == "")
}
