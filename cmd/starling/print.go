package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/starling-swarm/starling/node/api"
)

// printJSON writes v as one JSON document.
func (c *cli) printJSON(v any) {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		fmt.Fprintf(c.err, "error: print the answer: %v\n", err)
	}
}

// printLine writes v as one line of JSON, for streams.
func (c *cli) printLine(v any) {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		fmt.Fprintf(c.err, "error: print the answer: %v\n", err)
	}
}

// answer prints v with --json, else calls text.
func (c *cli) answer(v any, text func()) error {
	if c.json {
		c.printJSON(v)
	} else {
		text()
	}
	return nil
}

// say prints a line of text.
func (c *cli) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// next prints what to do next, for people.
func (c *cli) next(format string, args ...any) {
	if !c.quiet && !c.json {
		fmt.Fprintf(c.out, "→ "+format+"\n", args...)
	}
}

// note prints what goes on while a command works, apart from its answer.
func (c *cli) note(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.err, format+"\n", args...)
	}
}

// table prints rows in aligned columns; the first row is the head.
func (c *cli) table(rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 4, 3, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	// Writing to memory and then to the terminal: an error shows when the process ends.
	_ = w.Flush()
}

// paint colours text on a terminal; the words never depend on it.
func (c *cli) paint(code, text string) string {
	f, ok := c.out.(*os.File)
	if c.noColor || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !ok || !term.IsTerminal(int(f.Fd())) {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// The colours in use.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

// confirm asks a question that is answered by y, unless --yes was given.
func (c *cli) confirm(question string) error {
	if c.yes {
		return nil
	}
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return problem(api.Usage, "add --yes", "there is no terminal to ask on: %s", question)
	}
	fmt.Fprintf(c.err, "%s [y/N] ", question)
	line, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
		return problem(api.Interrupted, "", "nothing was done")
	}
	return nil
}

// bytesWords is 41.2 MiB for people.
func bytesWords(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// age is a number of seconds for people: 14s, 3m, 2h, 5d.
func age(seconds int64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 2*3600:
		return fmt.Sprintf("%dm", seconds/60)
	case seconds < 48*3600:
		return fmt.Sprintf("%dh", seconds/3600)
	}
	return fmt.Sprintf("%dd", seconds/86400)
}

// span is a duration for people: no zero units at its end.
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// percent is 12.5 % of 125 per mille.
func percent(permille int) string {
	if permille%10 == 0 {
		return fmt.Sprintf("%d %%", permille/10)
	}
	return fmt.Sprintf("%d.%d %%", permille/10, permille%10)
}

// labelWords is "model=mk1 site=north", sorted by name.
func labelWords(labels map[string]string) string {
	var out []string
	for _, k := range sortedKeys(labels) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, " ")
}

// orDash is s, or a dash for nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
