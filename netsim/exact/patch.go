package exact

import (
	"bytes"
	"fmt"
)

// Patch is one edit of one file of the Go distribution. It says what it pins
// and why, for reports and for whoever ports it to the next Go version.
type Patch struct {
	Name string // short and unique, as in Loose and in reports
	File string // below GOROOT/src, with slashes
	Why  string // what varies from run to run without it

	// Err is nil if the patch was applied. It says otherwise what did not fit.
	Err error

	find string // must occur in File exactly once
	with string // takes its place
}

// String is what a report prints of the patch.
func (p Patch) String() string {
	if p.Err != nil {
		return fmt.Sprintf("%s (%s): %v", p.Name, p.File, p.Err)
	}
	return fmt.Sprintf("%s (%s)", p.Name, p.File)
}

// apply returns src with the patch in it. A pattern that is missing, or that
// occurs twice, is an error: a guess at which one was meant would pin the wrong
// thing silently.
func (p Patch) apply(src []byte) ([]byte, error) {
	switch n := bytes.Count(src, []byte(p.find)); n {
	case 1:
		return bytes.Replace(src, []byte(p.find), []byte(p.with), 1), nil
	case 0:
		return nil, fmt.Errorf("pattern not found: %q", firstLine(p.find))
	default:
		return nil, fmt.Errorf("pattern found %d times: %q", n, firstLine(p.find))
	}
}

// firstLine is the first line of a pattern that says something.
func firstLine(s string) string {
	for line := range bytes.Lines([]byte(s)) {
		if t := bytes.TrimSpace(line); len(t) > 1 {
			return string(t)
		}
	}
	return s
}
