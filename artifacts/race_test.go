//go:build race

package artifacts_test

// slow says that the race detector is on: images are smaller.
const slow = true
