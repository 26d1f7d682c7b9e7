//go:build race

package trust

// raced says that the race detector runs, which makes JSON ten times slower.
const raced = true
