package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Transfer says how images may use this machine's links. What the swarm needs to decide
// and to be seen is not limited by it, but for max_rate.control. The plan of a rollout may narrow it further while
// that is open, but never widens it.
type Transfer struct {
	// MaxRate limits images, and all else, per second.
	MaxRate MaxRate `yaml:"max_rate"`
	// Interfaces are those by which image bytes may leave and enter, such as [wlan0];
	// empty is all.
	Interfaces []string `yaml:"interfaces"`
	// OnlyWhen are conditions that must all hold for images to be fetched: charging and
	// still, which the application says ("starling condition set"), and idle, which
	// holds while every gate is open. While one does not, the robot still serves
	// others, at a tenth of max_rate.up.
	OnlyWhen []string `yaml:"only_when"`
}

// MaxRate is in bytes per second; zero is no limit. Up is all that is sent, Peer what is
// sent to any one member, Down what is taken in. Control is what is sent beside images and
// documents: see node.Config.ControlBytesPerSec.
type MaxRate struct {
	Up      Bytes `yaml:"up"`
	Down    Bytes `yaml:"down"`
	Peer    Bytes `yaml:"peer"`
	Control Bytes `yaml:"control"`
}

// checkTransfer says what of Transfer makes no sense with the components.
func (c *Config) checkTransfer() (errs []error) {
	gated := slices.ContainsFunc(slices.Collect(maps.Values(c.Components)), func(comp Component) bool { return comp.Gate.Mode != "" })
	for _, w := range c.Transfer.OnlyWhen {
		switch w {
		case "charging", "still":
		case "idle":
			if !gated {
				errs = append(errs, errors.New("only_when idle: no component has a gate, so the robot would always be idle: set gate.mode of one"))
			}
		default:
			errs = append(errs, fmt.Errorf("only_when %q: want charging, still or idle", w))
		}
	}
	if slices.Contains(c.Transfer.Interfaces, "") {
		errs = append(errs, errors.New("interfaces: an empty name"))
	}
	return errs
}
