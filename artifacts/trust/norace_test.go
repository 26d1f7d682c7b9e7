//go:build !race

package trust

// raced says that the race detector runs.
const raced = false
