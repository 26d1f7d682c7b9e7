package main

import (
	"context"
	"fmt"
	"syscall"

	"github.com/starling-swarm/starling/node"
	"github.com/starling-swarm/starling/node/api"
)

// misfortunes are what happens while 1.1 goes out; each strikes once, when its
// moment has come.
type misfortunes struct {
	d                       *demo
	operator, robot, leader bool
	robotName, leaderName   string
	leaderless              bool // the killed leader is not started again yet
	err                     error
}

func (m *misfortunes) done() []string {
	var out []string
	if m.operator {
		out = append(out, "operator")
	}
	if m.robot {
		out = append(out, m.robotName)
	}
	if m.leader && !m.leaderless {
		out = append(out, m.leaderName)
	}
	return out
}

func (m *misfortunes) strike(ctx context.Context) {
	s := m.d.newest()
	if m.leaderless {
		m.err = m.nextLeader()
		return
	}
	if s == nil || s.Rollout == nil || s.Rollout.Release.Version != "1.1" || s.Rollout.Stage != "wave" {
		return
	}
	switch {
	case !m.operator:
		m.err = m.killOperator(ctx)
	case !m.robot:
		m.err = m.killDownload(s)
	case !m.leader && s.Rollout.Wave >= 2:
		m.err = m.killLeader(s)
	}
}

// killOperator kills the operator's node once it says that it may leave.
func (m *misfortunes) killOperator(ctx context.Context) error {
	c := api.Dial(m.d.operator.socket)
	defer c.Close()
	s, err := c.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask the operator's node whether it may leave: %w", err)
	}
	safe := 0
	for _, seed := range s.Seeds {
		if seed.Release.Version == "1.1" && seed.SafeToLeave {
			safe++
		}
	}
	if safe < len(demoModels) {
		return nil
	}
	m.operator = true
	m.d.noteSeeds(s)
	m.d.say("the operator's node is safe to leave: killed with SIGKILL")
	return m.d.operator.signal(syscall.SIGKILL)
}

// killDownload kills a robot that is in the middle of its download. The leader is
// left for its own misfortune: killed here it might lead again.
func (m *misfortunes) killDownload(s *node.Status) error {
	for _, name := range m.d.order {
		if name == string(s.Quorum.Leader) {
			continue
		}
		r := m.d.robots[name]
		a := r.app()
		if a.Phase != "fetching" || a.Release == nil || a.Release.Version != "1.1" || a.Progress < 100 || a.Progress > 800 {
			continue
		}
		m.robot, m.robotName = true, name
		if err := r.signal(syscall.SIGKILL); err != nil {
			return err
		}
		m.d.say("%s was %d %% through its download: killed with SIGKILL, started again", name, a.Progress/10)
		return r.start(m.d.self)
	}
	return nil
}

// killLeader kills the robot that leads.
func (m *misfortunes) killLeader(s *node.Status) error {
	r := m.d.robots[string(s.Quorum.Leader)]
	if r == nil {
		return nil
	}
	m.leader, m.leaderless, m.leaderName = true, true, r.name
	m.d.say("%s leads: killed with SIGKILL", r.name)
	return r.signal(syscall.SIGKILL)
}

// nextLeader starts the killed leader again once another one leads.
func (m *misfortunes) nextLeader() error {
	for _, name := range m.d.order {
		s := m.d.robots[name].now()
		if name == m.leaderName || s == nil || !s.Self.Leader {
			continue
		}
		m.leaderless = false
		m.d.say("%s leads now; %s is started again", name, m.leaderName)
		return m.d.robots[m.leaderName].start(m.d.self)
	}
	return nil
}
