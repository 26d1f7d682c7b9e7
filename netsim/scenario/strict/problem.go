package strict

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxProblems bounds how many complaints one document gets: the first few are
// read, the rest often follow from them.
const maxProblems = 20

// A Problem is one complaint about a document.
type Problem struct {
	File string
	// Line and Column count from 1, columns in characters. Both are 0 where there
	// is no document, only a struct.
	Line, Column int
	Path         string // such as faults[2].pick; may be empty
	Message      string
	Source       string // the line itself, without its end
}

// Error is the place, the message, the line, and a caret under the column:
//
//	demo.yaml:3:1: no key "sede" here; did you mean "seed"?
//	    3 | sede: 4
//	      | ^
func (p *Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", p.File, p.Path, p.Message)
	}
	var indent strings.Builder
	for i, r := range []rune(p.Source) {
		if i >= p.Column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		indent.WriteRune(r)
	}
	return fmt.Sprintf("%s:%d:%d: %s\n%5d | %s\n      | %s^", p.File, p.Line, p.Column, p.Message, p.Line, p.Source, indent.String())
}

// A Document remembers where the values of a decoded struct stood.
type Document struct {
	File  string
	lines []string
	root  *node
}

func (doc *Document) problem(line, col int, format string, args ...any) *Problem {
	line = min(max(line, 1), max(len(doc.lines), 1))
	p := &Problem{File: doc.File, Line: line, Message: fmt.Sprintf(format, args...)}
	if line <= len(doc.lines) {
		p.Source = strings.TrimRight(doc.lines[line-1], "\r")
	}
	p.Column = min(max(col, 1), len([]rune(p.Source))+1)
	return p
}

// At is a complaint about the value at path, or about the nearest one around it
// that the document has.
func (doc *Document) At(path, message string) *Problem {
	if doc == nil || doc.root == nil {
		return &Problem{File: "scenario", Path: path, Message: message}
	}
	at := locate(doc.root, path)
	p := doc.problem(at.line, at.col, "%s", message)
	p.Path = path
	return p
}

// locate follows path from n as far as the document goes.
func locate(n *node, path string) *node {
	for path != "" {
		var next *node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			index, after, _ := strings.Cut(rest, "]")
			path = after
			if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
			} else if n.kind != list {
				continue // a list of one, written bare
			}
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			next, path = n.get(path[:end]), path[end:]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// Join makes one error of many, at most maxProblems; nil of none.
func Join(list []*Problem) error {
	var errs []error
	for i, p := range list {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("%s: and %d more", p.File, len(list)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// nearest is the word of words that key was most likely meant to be, or "".
func nearest(key string, words []string) string {
	best, limit := "", max(1, (len(key)+3)/5)
	for _, w := range words {
		if d := distance(key, w); d <= limit {
			best, limit = w, d-1
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap to make a into b
// (optimal string alignment).
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
