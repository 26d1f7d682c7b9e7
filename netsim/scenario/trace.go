package scenario

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// maxTraceLines bounds a trace file.
const maxTraceLines = 1_000_000

// A Trace is where robots were, by name, as logged in the field or drawn by another
// simulator.
type Trace map[string][]Knot

// ParseTrace reads lines of t,id,x,y,z: seconds, a robot's name, metres; z may be
// missing. A first line of just these words is a heading. The times of each robot
// rise. name is what errors call the file.
func ParseTrace(name string, r io.Reader) (Trace, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord, rows.Comment, rows.TrimLeadingSpace, rows.ReuseRecord = -1, '#', true, true
	trace := Trace{}
	for n := 0; ; n++ {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return trace, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrScenario, name, err)
		}
		line, _ := rows.FieldPos(0)
		if n == 0 && row[0] == "t" {
			continue
		}
		if n > maxTraceLines {
			return nil, fmt.Errorf("%w: %s: more than %d lines", ErrScenario, name, maxTraceLines)
		}
		id, knot, err := readKnot(row)
		if err != nil {
			return nil, fmt.Errorf("%w: %s:%d: %w", ErrScenario, name, line, err)
		}
		if k := trace[id]; len(k) > 0 && k[len(k)-1].At >= knot.At {
			return nil, fmt.Errorf("%w: %s:%d: %s was at %s already: times rise", ErrScenario, name, line, id, k[len(k)-1].At)
		}
		trace[id] = append(trace[id], knot)
	}
}

// readKnot reads one line.
func readKnot(row []string) (id string, k Knot, err error) {
	if len(row) != 4 && len(row) != 5 {
		return "", k, fmt.Errorf("%d columns: want t,id,x,y or t,id,x,y,z", len(row))
	}
	var numbers []float64
	for i, text := range row {
		if i == 1 {
			continue
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.Abs(f) > 1e8 {
			return "", k, fmt.Errorf("column %d: %q is no number", i+1, text)
		}
		numbers = append(numbers, f)
	}
	if numbers[0] < 0 {
		return "", k, fmt.Errorf("t %g is before the start", numbers[0])
	}
	k.At = time.Duration(numbers[0] * float64(time.Second))
	return row[1], k, k.To.SetNumbers(numbers[1:])
}
