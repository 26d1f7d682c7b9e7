package rollout

import "math"

// Bound is the highest failure rate, in per mille rounded up, that failed of n
// robots do not yet contradict: the one-sided 95 % Clopper-Pearson bound. None of
// 5 failed leaves 451. It is for people; no decision is made by it, so that floats
// may differ between machines. Without robots it is 1000.
func Bound(failed, n int) int {
	if n <= 0 || failed >= n || failed < 0 {
		return 1000
	}
	// The bound is the rate at which so few failures would be seen in only 5 % of
	// all tries: P(X <= failed | n, rate) = 0.05, falling in rate.
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; atMost(failed, n, mid) > 0.05 {
			low = mid
		} else {
			high = mid
		}
	}
	return min(1000, int(math.Ceil(high*1000-1e-9)))
}

// atMost is the chance of at most k failures among n robots that each fail with
// chance p, 0 < p < 1.
func atMost(k, n int, p float64) float64 {
	sum := 0.0
	for i := 0; i <= k; i++ {
		sum += math.Exp(logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

func logChoose(n, k int) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return lg(n) - lg(k) - lg(n-k)
}
