package strict

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth bounds how deep lists and mappings lie inside each other.
const maxDepth = 32

type kind uint8

const (
	null    kind = iota // nothing, null or ~
	plain               // a scalar without quotes
	quoted              // a scalar that is text for sure: quotes or a block
	list                // items
	mapping             // entries
	word                // a scalar to be printed that is no text for its own reader
)

var kindNames = [...]string{"nothing", "a word", "text in quotes", "a list", "keys and values"}

// A node is one value of a document and where it stands.
type node struct {
	kind      kind
	line, col int // from 1, columns counted in characters; 0 of a node that is to be printed
	text      string
	items     []*node
	entries   []entry
}

// An entry is one key of a mapping with its value.
type entry struct {
	key       string
	line, col int
	value     *node
}

// get returns the value of key, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// parse reads one YAML document. An empty one is an empty mapping.
func parse(file string, data []byte) (n *node, err error) {
	doc := &Document{File: file, lines: strings.Split(string(data), "\n")}
	if err := doc.checkBytes(data); err != nil {
		return nil, err
	}
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, doc.syntax(err)
	}
	n = &node{kind: mapping, line: 1, col: 1}
	found := false
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if found {
			at := d.Body.GetToken().Position
			return nil, doc.problem(at.Line, at.Column, "a second document: a file holds one")
		}
		found = true
		if n, err = doc.convert(d.Body, 0); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// checkBytes refuses what no person writes, before the parser sees it: it calls
// itself for each bracket that is open.
func (doc *Document) checkBytes(data []byte) error {
	if len(data) > MaxBytes || len(doc.lines) > MaxLines {
		return doc.problem(1, 1, "%d bytes in %d lines: a document has at most %d and %d", len(data), len(doc.lines), MaxBytes, MaxLines)
	}
	open := 0
	for i, line := range doc.lines {
		col, marks := 1, 0
		for _, r := range line {
			switch {
			case r == utf8.RuneError, r != '\t' && r != '\r' && unicode.IsControl(r), r == '\uFEFF', r == '\u2028', r == '\u2029':
				return doc.problem(i+1, col, "a character that is not text (%U)", r)
			case r == '\r' && col != utf8.RuneCountInString(line):
				return doc.problem(i+1, col, "a carriage return inside a line")
			case r == '[' || r == '{':
				open++
			case r == ']' || r == '}':
				open = max(0, open-1)
			case r == '-' || r == '?' || r == ':' || r == '&' || r == '!':
				marks++
			}
			if open > 4*maxDepth || marks > 1<<16 || (marks > 40*maxDepth && marks > col/4) {
				return doc.problem(i+1, col, "nothing but brackets and marks")
			}
			col++
		}
	}
	return nil
}

// syntax turns the parser's complaint into ours.
func (doc *Document) syntax(err error) error {
	var at interface {
		error
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &at) || at.GetToken() == nil || at.GetToken().Position == nil {
		return doc.problem(1, 1, "%v", err)
	}
	p := at.GetToken().Position
	return doc.problem(p.Line, p.Column, "%s", at.GetMessage())
}

// convert makes a node of the parser's.
func (doc *Document) convert(a ast.Node, depth int) (*node, error) {
	pos := a.GetToken().Position
	n := &node{line: pos.Line, col: pos.Column}
	if depth > maxDepth {
		return nil, doc.problem(n.line, n.col, "more than %d levels deep", maxDepth)
	}
	switch a := a.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		n.kind, n.text = quoted, a.Value
		if a.Token.Type != token.SingleQuoteType && a.Token.Type != token.DoubleQuoteType {
			n.kind = plain
		}
	case *ast.LiteralNode:
		n.kind, n.text = quoted, strings.TrimRight(a.Value.Value, "\n")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = plain, a.GetToken().Value
	case *ast.SequenceNode:
		n.kind = list
		for _, v := range a.Values {
			item, err := doc.convert(v, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case *ast.MappingNode:
		return doc.convertMapping(n, a, depth)
	default:
		return nil, doc.problem(n.line, n.col, "%s: anchors, aliases, tags and merge keys are not used here", strings.ToLower(a.Type().String()))
	}
	return n, nil
}

func (doc *Document) convertMapping(n *node, a *ast.MappingNode, depth int) (*node, error) {
	n.kind = mapping
	seen := map[string]bool{}
	for i, v := range a.Values {
		at := v.Key.GetToken()
		e := entry{key: at.Value, line: at.Position.Line, col: at.Position.Column}
		switch v.Key.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		default:
			return nil, doc.problem(e.line, e.col, "a key is one word, without anchors, tags or merging")
		}
		if i == 0 && !a.IsFlowStyle {
			n.line, n.col = e.line, e.col // the parser's own position is the colon
		}
		if seen[e.key] {
			return nil, doc.problem(e.line, e.col, "key %q stands here twice", e.key)
		}
		seen[e.key] = true
		value, err := doc.convert(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if value.kind == null {
			value.line, value.col = e.line, e.col // there is nothing to point at but the key
		}
		e.value = value
		n.entries = append(n.entries, e)
	}
	return n, nil
}

// describe says what n is, for a complaint.
func (n *node) describe() string {
	if n.kind == plain || n.kind == quoted {
		return fmt.Sprintf("%q", n.text)
	}
	return kindNames[n.kind]
}
