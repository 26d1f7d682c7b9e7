package trust

import "testing"

func BenchmarkOpen(b *testing.B) {
	x := publish(b, initSolo(b), day1, release("app", "1.0", 1))
	for b.Loop() {
		open(b, x, x)
	}
}
