// Package vector keeps golden bytes of documents, for tests alone.
//
// A vector is a text file under the test's testdata: a line "expect:" with what
// the document is, then its bytes in hexadecimal. Another implementation can read
// it, and a change of format shows as a change of the file. Run a test with
// -update to write the files, then read the difference: once robots are in the
// field, there must be none.
package vector

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden vectors instead of comparing with them")

const width = 64 // hexadecimal digits on one line

// Check compares got with the bytes in testdata/name.txt, which says expect, and
// returns the bytes of the file.
func Check(t testing.TB, name, expect string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		write(t, path, expect, got)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	head, body, _ := strings.Cut(string(file), "\n")
	want, err := hex.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if head != "expect: "+expect {
		t.Fatalf("%s says %q, want %q", path, head, "expect: "+expect)
	}
	if string(want) != string(got) {
		t.Fatalf("%s: the encoding has changed; robots in the field could not read it\nwant %x\ngot  %x", path, want, got)
	}
	return want
}

func write(t testing.TB, path, expect string, got []byte) {
	t.Helper()
	var b strings.Builder
	b.WriteString("expect: " + expect + "\n")
	for h := hex.EncodeToString(got); h != ""; {
		n := min(width, len(h))
		b.WriteString(h[:n] + "\n")
		h = h[n:]
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
