//go:build !amd64

package sums

// paired says that blocks can be called.
const paired = false

func blocks(_, _ *[8]uint32, _, _ *byte, _ int) { panic("sums: no two at a time here") }
