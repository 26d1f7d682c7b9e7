package fabric

import "container/heap"

// reached is a host that a search has come to, and from where.
type reached struct {
	cost     float64
	at, from *Host
}

// frontier is where a search goes on: a heap, the cheapest first, then the lower index.
type frontier []reached

func (f frontier) Len() int { return len(f) }
func (f frontier) Less(i, j int) bool {
	a, b := &f[i], &f[j]
	return a.cost < b.cost || a.cost == b.cost && a.at.index < b.at.index
}
func (f frontier) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *frontier) Push(x any)   { *f = append(*f, x.(reached)) }
func (f *frontier) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	*f = (*f)[:last]
	return x
}

func (f *frontier) push(r reached) { heap.Push(f, r) }
func (f *frontier) pop() reached   { return heap.Pop(f).(reached) }
