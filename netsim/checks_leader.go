package netsim

// A reign is one leadership: raft's terms start anew with each generation.
type reign struct {
	generation uint32
	term       uint64
}

// leaderships are who led when.
type leaderships map[reign]string

// second is a complaint if a term has two leaders.
func (l leaderships) second(r reign, who string) []complaint {
	first, known := l[r]
	if !known {
		l[r] = who
		return nil
	}
	if first != who {
		return []complaint{complain("one-leader", "%s and %s both lead in term %d of generation %d", first, who, r.term, r.generation)}
	}
	return nil
}
