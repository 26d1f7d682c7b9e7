package fabric

import (
	"math"
	"time"
)

// A key names one source of random numbers: the n-th packet on a directed link, for
// one purpose. Draws are hashes of it, not a sequence, so nothing that happens
// elsewhere moves them.
type key uint64

// What a number is drawn for.
const (
	forLoss = iota + 1
	forBurst
	forBurstLoss
	forRetry
	forJitter     // and the numbers after it, one for each hop
	forFault  = 0 // a fault has a key of its own
)

// mix is the output function of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// with derives a key.
func (k key) with(x uint64) key { return key(mix(uint64(k) ^ mix(x))) }

// float is a number in [0, 1).
func (k key) float(purpose uint64) float64 { return float64(k.with(purpose)>>11) / (1 << 53) }

// hit is true with probability p.
func (k key) hit(purpose uint64, p float64) bool { return p > 0 && k.float(purpose) < p }

// wait is exponentially distributed with the given mean.
func (k key) wait(purpose uint64, mean time.Duration) time.Duration {
	if mean == 0 {
		return 0
	}
	return time.Duration(-math.Log(1-k.float(purpose)) * float64(mean))
}
