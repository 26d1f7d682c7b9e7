package exact

import _ "embed"

//go:embed clock.go.txt
var clockCode string

// clockPatches give each machine of a simulation a clock of its own. They change
// nothing until UseClocks.
var clockPatches = []Patch{
	{
		Name: "machine", File: "runtime/runtime2.go",
		Why:  "whose goroutine it is, to know whose clock it reads",
		find: "\tcoroarg *coro // argument during coroutine transfers\n",
		with: "\texactMachine uint32\n\n\tcoroarg *coro // argument during coroutine transfers\n",
	},
	{
		Name: "machine-go", File: "runtime/proc.go",
		Why:  "goroutines belong to the machine of the one that starts them",
		find: "\tnewg.runningCleanups.Store(false)\n",
		with: "\tnewg.runningCleanups.Store(false)\n\tnewg.exactMachine = callergp.exactMachine\n",
	},
	{
		Name: "machine-timer", File: "runtime/time.go",
		Why:  "a timer starts goroutines too, and it sends the time of the machine that made it",
		find: "\tisFake bool         // timer is using fake time; immutable; can be read without lock\n",
		with: "\tisFake bool         // timer is using fake time; immutable; can be read without lock\n\n\texactMachine uint32\n",
	},
	{
		Name: "machine-timer-made", File: "runtime/time.go",
		Why:  "where a timer learns whose it is",
		find: "\t\tt.isFake = true\n\t}\n\tt.modify(when, period, f, arg, 0)\n",
		with: "\t\tt.isFake = true\n\t}\n\tt.exactMachine = getg().exactMachine\n\tt.modify(when, period, f, arg, 0)\n",
	},
	{
		Name: "machine-timer-runs", File: "runtime/time.go",
		Why:  "where what a timer does becomes its machine's",
		find: "\t\tgp.bubble = bubble\n\t\tbubble.changegstatus(gp, _Gdead, _Grunning)\n",
		with: "\t\tgp.bubble = bubble\n\t\tgp.exactMachine = t.exactMachine\n\t\tbubble.changegstatus(gp, _Gdead, _Grunning)\n",
	},
	{
		Name: "machine-timer-ran", File: "runtime/time.go",
		Why:  "and where that ends",
		find: "\t\tgp.bubble = nil\n\t}\n\n\tif ts != nil {\n\t\tts.lock()\n",
		with: "\t\tgp.bubble = nil\n\t\tgp.exactMachine = 0\n\t}\n\n\tif ts != nil {\n\t\tts.lock()\n",
	},
	{
		Name: "machine-now", File: "runtime/time.go",
		Why:  "a bubble has one clock",
		find: "\t\tsec = bubble.now / (1000 * 1000 * 1000)\n",
		with: "\t\tif exactClocksOn != 0 {\n\t\t\treturn exactClock(bubble.now)\n\t\t}\n\t\tsec = bubble.now / (1000 * 1000 * 1000)\n",
	},
	{
		Name: "machine-clocks", File: "runtime/time.go",
		Why:  "where the clocks are",
		find: "// A timer is a potentially repeating trigger for calling t.f(t.arg, t.seq).\n",
		with: clockCode + "// A timer is a potentially repeating trigger for calling t.f(t.arg, t.seq).\n",
	},
	{
		Name: "monotonic", File: "time/time.go",
		Why:  "monotonic readings count from the program's start, in real time",
		find: "\tmono -= startNano\n\tsec += unixToInternal - minWall\n",
		with: "\tif !runtimeIsBubbled() {\n\t\tmono -= startNano\n\t}\n\tsec += unixToInternal - minWall\n",
	},
}
