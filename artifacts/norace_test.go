//go:build !race

package artifacts_test

const slow = false
