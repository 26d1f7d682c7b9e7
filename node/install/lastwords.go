package install

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

const (
	// lastWordsBytes is how much of the end of a log is looked at for the last line.
	lastWordsBytes = 4 << 10
	// MaxSaid bounds Exit.Said, in bytes.
	MaxSaid = 160
	// exitTextBytes is how long Text gets with the log's path in it: a health report
	// has room for some more, which whoever passes it on fills with words of its own.
	exitTextBytes = 56
)

// Words are how it ended and what it said last: "exit status 3: no such camera".
func (e Exit) Words() string {
	if e.Said == "" {
		return e.Reason
	}
	return e.Reason + ": " + e.Said
}

// Text is Words, and where the rest is if that is short enough for a health report.
func (e Exit) Text() string {
	text := e.Words()
	if with := text + " (" + e.Log + ")"; e.Log != "" && len(with) <= exitTextBytes {
		return with
	}
	return text
}

// lastWords is the last line of the log that is not empty and was written at offset
// from or after it; empty if there is none. A log that is shorter than that was
// trimmed meanwhile.
func lastWords(path string, from int64) (string, error) {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return "", err
	}
	if st.Size() < from {
		from = 0
	}
	from = max(from, st.Size()-lastWordsBytes)
	data, err := io.ReadAll(io.NewSectionReader(in, from, lastWordsBytes))
	if err != nil {
		return "", err
	}
	return plain(lastLine(string(data))), nil
}

// plain is a line as it may go into reports and onto terminals: valid text without
// control characters, at most MaxSaid bytes.
func plain(line string) string {
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
	for n := MaxSaid; len(line) > MaxSaid; n-- {
		line = strings.ToValidUTF8(line[:n], "")
	}
	return strings.TrimSpace(line)
}
