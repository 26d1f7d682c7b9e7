package gossip

import "sync/atomic"

// Stats counts since New what a healthy swarm hardly ever does, and the traffic.
type Stats struct {
	SentPackets, ReceivedPackets uint64
	SentBytes, ReceivedBytes     uint64 // packets and streams, without IP headers
	PacketsDropped               uint64 // the queue to memberlist was full
	StreamsRefused               uint64 // too many were open
	StrangersRefused             uint64 // alive messages of members not admitted
	BadMessages                  uint64 // bodies that this build cannot read
	EventsDropped                uint64 // log lines about members, asks and conflicts that a full queue lost
	LinesSuppressed              uint64 // of memberlist's log
	JoinsTried, JoinsDone        uint64 // by the rejoin loop
	MetaUpdates                  uint64 // gossiped
	Alive                        int    // members alive or suspect, self included
	Health                       int    // memberlist's own health score; 0 is well
}

// counters is Stats while it grows.
type counters struct {
	sentPackets, receivedPackets atomic.Uint64
	sentBytes, receivedBytes     atomic.Uint64
	packetsDropped               atomic.Uint64
	streamsRefused               atomic.Uint64
	strangersRefused             atomic.Uint64
	badMessages                  atomic.Uint64
	eventsDropped                atomic.Uint64
	linesSuppressed              atomic.Uint64
	joinsTried, joinsDone        atomic.Uint64
	metaUpdates                  atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		SentPackets: c.sentPackets.Load(), ReceivedPackets: c.receivedPackets.Load(),
		SentBytes: c.sentBytes.Load(), ReceivedBytes: c.receivedBytes.Load(),
		PacketsDropped: c.packetsDropped.Load(), StreamsRefused: c.streamsRefused.Load(),
		StrangersRefused: c.strangersRefused.Load(), BadMessages: c.badMessages.Load(),
		EventsDropped: c.eventsDropped.Load(), LinesSuppressed: c.linesSuppressed.Load(),
		JoinsTried: c.joinsTried.Load(), JoinsDone: c.joinsDone.Load(),
		MetaUpdates: c.metaUpdates.Load(),
	}
}
