package exact

import _ "embed"

// added is a whole file that the patched runtime gains. The edits call into it.
//
//go:embed runtime.go.txt
var added []byte

// addedFile is where it goes below GOROOT/src.
const addedFile = "runtime/starling_exact.go"

// pins are the edits against chance, tried with Go 1.26.8. A run with one of them missing
// differs sooner or later, so Overlay applies all or none.
//
// For whoever looks for the next leak: it is chance as soon as it depends on real
// time or on which thread runs a goroutine, and it matters as soon as it changes
// a draw of the program, the order of its goroutines, or what it allocates.
var pins = []Patch{
	{
		Name: "rand", File: "runtime/rand.go",
		Why: "math/rand and map iteration draw from a generator of the thread, " +
			"and which thread runs a goroutine is chance",
		find: "func rand() uint64 {\n",
		with: "func rand() uint64 {\n\tif x, ok := exactRand(); ok {\n\t\treturn x\n\t}\n",
	},
	{
		Name: "seed", File: "runtime/rand.go",
		Why:  "the hash keys of maps, which decide their order too, come from a random start",
		find: "\tglobalRand.state.Init(*seed)\n",
		with: "\tclear(seed[:])\n\tseed[0] = 7\n\tglobalRand.state.Init(*seed)\n",
	},
	{
		Name: "select", File: "runtime/select.go",
		Why:  "select looks at its cases in an order drawn from a generator of the thread",
		find: "\t\tj := cheaprandn(uint32(norder + 1))\n",
		with: "\t\tj := exactCheapn(exactPinSelect, uint32(norder+1))\n",
	},
	{
		Name: "channel", File: "runtime/chan.go",
		Why:  "a number by which select can order channels",
		find: "\tbubble   *synctestBubble\n\n\t// lock protects all fields in hchan",
		with: "\tbubble   *synctestBubble\n\texactID  uintptr\n\n\t// lock protects all fields in hchan",
	},
	{
		Name: "channel-number", File: "runtime/chan.go",
		Why:  "where a channel gets it",
		find: "\tc.elemtype = elem\n",
		with: "\tc.elemtype = elem\n\tc.exactID = exactChanID()\n",
	},
	{
		Name: "select-lock", File: "runtime/select.go",
		Why: "select locks channels, and arms the timers among them, in order of address; " +
			"armed timers draw",
		find: "func (c *hchan) sortkey() uintptr {\n",
		with: "func (c *hchan) sortkey() uintptr {\n\tif exactHas(exactPinSelect) {\n\t\treturn c.exactID\n\t}\n",
	},
	{
		Name: "timer", File: "runtime/time.go",
		Why:  "timers of one instant fire in an order drawn from a generator of the thread",
		find: "\t\t\tt.rand = cheaprand()\n",
		with: "\t\t\tt.rand = exactCheap(exactPinTimer)\n",
	},
	{
		Name: "retake", File: "runtime/proc.go",
		Why: "after 10 ms of real time a goroutine is preempted, and after 20 µs in a " +
			"system call its processor goes to another",
		find: "func retake(now int64) uint32 {\n",
		with: "func retake(now int64) uint32 {\n\tif exactHold(now) {\n\t\treturn 0\n\t}\n",
	},
	{
		Name: "tick", File: "runtime/proc.go",
		Why: "every 61st pick looks at the global run queue first, and background work " +
			"of the runtime counts as picks",
		find: "\tif !inheritTime {\n\t\tmp.p.ptr().schedtick++\n",
		with: "\tif !inheritTime && (gp.bubble != nil || !exactOn || !exactHas(exactPinTick)) {\n\t\tmp.p.ptr().schedtick++\n",
	},
	{
		Name: "mutex", File: "runtime/sema.go",
		Why: "a sync.Mutex that somebody awaits for 1 ms of real time changes to " +
			"handing itself over in order",
		find: "func internal_sync_nanotime() int64 {\n\treturn nanotime()\n",
		with: "func internal_sync_nanotime() int64 {\n\treturn exactNanotime()\n",
	},
	{
		Name: "apart-ready", File: "runtime/proc.go",
		Why: "a goroutine outside the bubble (scavenger, finalizers, a library's real " +
			"timer) takes the next slot when it wakes and sends ours to the back of the queue",
		find: "func runqput(pp *p, gp *g, next bool) {\n",
		with: "func runqput(pp *p, gp *g, next bool) {\n\tif exactPut(gp) {\n\t\treturn\n\t}\n",
	},
	{
		Name: "apart-global", File: "runtime/proc.go",
		Why:  "the same, in the global queue",
		find: "func globrunqput(gp *g) {\n\tassertLockHeld(&sched.lock)\n\n",
		with: "func globrunqput(gp *g) {\n\tassertLockHeld(&sched.lock)\n\n" +
			"\tif exactIsApart(gp) {\n\t\texactApart.pushBack(gp)\n\t\treturn\n\t}\n",
	},
	{
		Name: "apart-batch", File: "runtime/proc.go",
		Why:  "the same, for several at once",
		find: "func globrunqputbatch(batch *gQueue) {\n\tassertLockHeld(&sched.lock)\n\n",
		with: "func globrunqputbatch(batch *gQueue) {\n\tassertLockHeld(&sched.lock)\n\n\texactSort(batch)\n",
	},
	{
		Name: "apart-inject", File: "runtime/proc.go",
		Why:  "the same, for goroutines that a thread without a processor readies",
		find: "\tif pp == nil {\n\t\tn := q.size\n",
		with: "\tif pp == nil || exactOn {\n\t\tn := q.size\n",
	},
	{
		Name: "apart-take", File: "runtime/proc.go",
		Why:  "goroutines kept apart must still run, between two of the bubble",
		find: "\t// Check the global runnable queue once in a while to ensure fairness.\n",
		with: "\tif gp := exactTake(); gp != nil {\n\t\treturn gp, false, false\n\t}\n\n" +
			"\t// Check the global runnable queue once in a while to ensure fairness.\n",
	},
	{
		Name: "apart-idle", File: "runtime/proc.go",
		Why:  "a processor must not go idle while a goroutine kept apart is runnable",
		find: "\tif !sched.runq.empty() {\n\t\tgp, q := globrunqgetbatch(int32(len(pp.runq)) / 2)\n\t\tunlock(&sched.lock)\n",
		with: "\tif gp := exactApart.pop(); gp != nil {\n\t\tunlock(&sched.lock)\n\t\treturn gp, false, false\n\t}\n" +
			"\tif !sched.runq.empty() {\n\t\tgp, q := globrunqgetbatch(int32(len(pp.runq)) / 2)\n\t\tunlock(&sched.lock)\n",
	},
	{
		Name: "apart-handoff", File: "runtime/proc.go",
		Why:  "the same, when a blocking call gives the processor away",
		find: "\tif !runqempty(pp) || !sched.runq.empty() {\n",
		with: "\tif !runqempty(pp) || !sched.runq.empty() || exactApart.size != 0 {\n",
	},
	{
		Name: "apart-handoff-late", File: "runtime/proc.go",
		Why:  "the same, for one that came meanwhile",
		find: "\tif !sched.runq.empty() {\n\t\tunlock(&sched.lock)\n\t\tstartm(pp, false, false)\n",
		with: "\tif !sched.runq.empty() || exactApart.size != 0 {\n\t\tunlock(&sched.lock)\n\t\tstartm(pp, false, false)\n",
	},
	{
		Name: "thread-stock", File: "runtime/proc.go",
		Why: "thread descriptors lie on the heap, and when a thread starts is a race: " +
			"it moves the addresses of later objects, and maps by pointer with them",
		find: "\tif haveSysmon {\n\t\tsystemstack(func() {\n\t\t\tnewm(sysmon, nil, -1)\n",
		with: "\tsystemstack(exactStockUp)\n\tif haveSysmon {\n\t\tsystemstack(func() {\n\t\t\tnewm(sysmon, nil, -1)\n",
	},
	{
		Name: "thread-take", File: "runtime/proc.go",
		Why:  "the same, where a thread starts",
		find: "func allocm(pp *p, fn func(), id int64) *m {\n",
		with: "func allocm(pp *p, fn func(), id int64) *m {\n\tif mp := exactThread(fn); mp != nil {\n\t\treturn mp\n\t}\n",
	},
	{
		Name: "assert-cache", File: "runtime/iface.go",
		Why:  "one type assertion of a thousand, drawn by the thread, puts its type into a cache on the heap",
		find: "\tif cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\treturn tab\n",
		with: "\tif exactHidden()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\treturn tab\n",
	},
	{
		Name: "assert-cache-size", File: "runtime/iface.go",
		Why:  "the same, the larger the cache the rarer",
		find: "\tif cheaprand()&uint32(oldC.Mask) != 0 {\n\t\t// As cache gets larger, choose to update it less often\n\t\t// so we can amortize the cost of building a new cache.\n",
		with: "\tif exactHidden()&uint32(oldC.Mask) != 0 {\n\t\t// As cache gets larger, choose to update it less often\n\t\t// so we can amortize the cost of building a new cache.\n",
	},
	{
		Name: "switch-cache", File: "runtime/iface.go",
		Why:  "the same for type switches",
		find: "\tif cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\t// This ensures",
		with: "\tif exactHidden()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\t// This ensures",
	},
	{
		Name: "switch-cache-size", File: "runtime/iface.go",
		Why:  "the same, the larger the cache the rarer",
		find: "\tif cheaprand()&uint32(oldC.Mask) != 0 {\n\t\t// As cache gets larger, choose to update it less often\n\t\t// so we can amortize the cost of building a new cache\n\t\t// (that",
		with: "\tif exactHidden()&uint32(oldC.Mask) != 0 {\n\t\t// As cache gets larger, choose to update it less often\n\t\t// so we can amortize the cost of building a new cache\n\t\t// (that",
	},
	{
		Name: "bubble", File: "runtime/synctest.go",
		Why:  "the generator starts from the seed when the bubble does",
		find: "\tbubble.now = synctestBaseTime\n",
		with: "\tbubble.now = synctestBaseTime\n\texactEnter(bubble.now)\n",
	},
	{
		Name: "clock", File: "runtime/synctest.go",
		Why:  "when virtual time stands still for long, a watchdog needs the processor",
		find: "\t\tbubble.now = next\n",
		with: "\t\tbubble.now = next\n\t\texactNow.Store(next)\n",
	},
	{
		Name: "entropy", File: "crypto/internal/sysrand/rand.go",
		Why: "keys made before the bubble, in a package's init, come from the kernel; " +
			"cryptotest.SetGlobalRandom is too late for them",
		find: "func Read(b []byte) {\n",
		with: "func Read(b []byte) {\n\tif exactRead(b) {\n\t\treturn\n\t}\n",
	},
	{
		Name: "entropy-source", File: "crypto/internal/sysrand/rand.go",
		Why:  "where the edit above draws from",
		find: "var testingOnlyFailRead bool\n",
		with: `var testingOnlyFailRead bool

//go:linkname exactRand runtime.rand
func exactRand() uint64

//go:linkname exactEntropy runtime.exactEntropy
func exactEntropy() bool

func exactRead(b []byte) bool {
	if !exactEntropy() {
		return false
	}
	for i := range b {
		b[i] = byte(exactRand() >> 56)
	}
	return true
}
`,
	},
}
