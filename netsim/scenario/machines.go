package scenario

import "strconv"

// A Machine is one computer of a scenario.
type Machine struct {
	Name  string
	Kind  string // Robots, Bases or Operators
	Group int    // index in Fleet of a robot, in Operators of an operator; else 0
	Index int    // from 0 inside its group, or among the base machines
}

// Machines lists all machines: operators, base machines, then robots by group.
func (s *Scenario) Machines() []Machine {
	var list []Machine
	for i, o := range s.Operators {
		list = append(list, Machine{Name: o.Name, Kind: Operators, Group: i})
	}
	for i := range s.Base.Count {
		list = append(list, Machine{Name: "base-" + strconv.Itoa(i+1), Kind: Bases, Index: i})
	}
	for g := range s.Fleet {
		for i := range s.Fleet[g].Count {
			list = append(list, Machine{Name: s.Fleet[g].Robot(i), Kind: Robots, Group: g, Index: i})
		}
	}
	return list
}

// Robot is the name of the group's robot i, from 0.
func (g *Group) Robot(i int) string { return g.Name + "-" + strconv.Itoa(i+1) }

// Who lists the machines that t names, in the order of Machines; nobody if t is a
// matter of truth (see Term.Truth), or names somebody who is not there.
func (s *Scenario) Who(t Term) []string { return s.who(s.Machines(), t) }

func (s *Scenario) who(machines []Machine, t Term) (names []string) {
	for _, m := range machines {
		if s.is(m, t) {
			names = append(names, m.Name)
		}
	}
	return names
}

func (s *Scenario) is(m Machine, t Term) bool {
	switch {
	case t.Truth():
		return false
	case t.Value == "":
		return t.Key == All || t.Key == m.Kind || t.Key == m.Name
	case m.Kind != Robots:
		return false
	case t.Key == keyModel:
		return s.Fleet[m.Group].Model == t.Value
	case t.Key == keyGroup:
		return s.Fleet[m.Group].Name == t.Value
	}
	return s.Fleet[m.Group].Labels[t.Key] == t.Value
}
