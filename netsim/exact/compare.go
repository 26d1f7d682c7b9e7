package exact

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Difference is the place where two records of a run part.
type Difference struct {
	// Event counts the events before it, equal in both: it is the index of the
	// first that differs.
	Event int
	// Before are the last events that both have, oldest first.
	Before []string
	// A and B are what each record has from there on, the differing event first.
	// An empty one has ended.
	A, B []string
}

// String shows the difference in the way of diff.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "first difference at event %d\n", d.Event)
	for _, part := range []struct {
		mark  string
		lines []string
	}{{" ", d.Before}, {"-", d.A}, {"+", d.B}} {
		for _, l := range part.lines {
			fmt.Fprintf(&b, "%s %s\n", part.mark, l)
		}
		if len(part.lines) == 0 && part.mark != " " {
			fmt.Fprintf(&b, "%s (the record ends here)\n", part.mark)
		}
	}
	return b.String()
}

// Compare reads two records as Writer makes them and finds the first event in
// which they differ, with up to context events before and after. It returns nil
// if they are equal. Only the context is kept in memory.
func Compare(a, b io.Reader, context int) (*Difference, error) {
	ra, rb := bufio.NewReader(a), bufio.NewReader(b)
	var before []string
	for n := 0; ; n++ {
		la, moreA, errA := event(ra)
		lb, moreB, errB := event(rb)
		if err := errors.Join(errA, errB); err != nil {
			return nil, fmt.Errorf("read event %d: %w", n, err)
		}
		if !moreA && !moreB {
			return nil, nil
		}
		if moreA == moreB && la == lb {
			if before = append(before, la); len(before) > context {
				before = before[1:]
			}
			continue
		}
		d := &Difference{Event: n, Before: before}
		if d.A, errA = follow(ra, la, moreA, context); errA != nil {
			return nil, errA
		}
		if d.B, errB = follow(rb, lb, moreB, context); errB != nil {
			return nil, errB
		}
		return d, nil
	}
}

// event reads one line. more is false at the end; a last line without a line
// break counts, because a run that was killed leaves one.
func event(r *bufio.Reader) (line string, more bool, err error) {
	line, err = r.ReadString('\n')
	if err == io.EOF {
		return line, line != "", nil
	}
	return strings.TrimSuffix(line, "\n"), err == nil, err
}

// follow returns first and up to context events after it.
func follow(r *bufio.Reader, first string, more bool, context int) ([]string, error) {
	var lines []string
	for more && len(lines) <= context {
		lines = append(lines, first)
		var err error
		if first, more, err = event(r); err != nil {
			return nil, fmt.Errorf("read after the difference: %w", err)
		}
	}
	return lines, nil
}
