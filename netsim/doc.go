// Package netsim runs a swarm in virtual time: whole nodes, unmodified, on a network
// in memory, with operators who follow a story and faults that come at their times,
// and judges from ground truth whether what Starling promises has held.
//
//	s, err := scenario.Parse("split.yaml", data)
//	report, err := netsim.Run(ctx, s, netsim.Options{Dir: dir}) // in a synctest bubble
//
// A World holds the machines: each has a host on the fabric, a directory, and while
// it is on, a node. Robots have payloads besides: real slots with real bytes, and a
// program that behaves as its release says. Four kinds of goroutines share a World:
// the story (what operators do), the faults, the watcher, which reads every node once
// a second, and the nodes themselves. The truth is what the payloads did; invariants
// compare it with what nodes know and say.
//
// The same scenario and seed give the same run, event for event, in a program that
// package exact has built; see there.
package netsim
