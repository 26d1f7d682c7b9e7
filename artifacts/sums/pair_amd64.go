package sums

import "golang.org/x/sys/cpu"

// hasSHA is the bit of features that says that there are SHA instructions.
const hasSHA = 1 << 29

// paired says that the processor has what blocks needs.
var paired = cpu.X86.HasSSSE3 && cpu.X86.HasSSE41 && features()&hasSHA != 0

// blocks takes n blocks of a into the state s, and as many of b into t.
//
//go:noescape
func blocks(s, t *[8]uint32, a, b *byte, n int)

// features is EBX of CPUID leaf 7, or zero if there is none.
func features() uint32
