package fabric

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A Point is a place in the world, in metres.
type Point struct{ X, Y, Z float64 }

func (p Point) validate() error {
	for _, v := range []float64{p.X, p.Y, p.Z} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("fabric: %v is no place", p)
		}
	}
	return nil
}

func (p Point) distance(q Point) float64 {
	return math.Sqrt((p.X-q.X)*(p.X-q.X) + (p.Y-q.Y)*(p.Y-q.Y) + (p.Z-q.Z)*(p.Z-q.Z))
}

// A Burst makes losses come together (Gilbert 1960, Elliott 1963): a link is well or
// ill, and loses Share of its packets while it is ill.
type Burst struct {
	Begin float64 // chance, per packet, that a well link falls ill
	End   float64 // chance, per packet, that an ill link gets well; 1/End is the mean length
	Share float64 // of packets lost while ill
}

// mean is the share of packets lost in the long run.
func (b Burst) mean() float64 {
	if b.Begin == 0 {
		return 0
	}
	return b.Begin / (b.Begin + b.End) * b.Share
}

func (b Burst) validate() error {
	if !isShare(b.Begin) || !isShare(b.End) || !isShare(b.Share) || b.Begin > 0 && b.End == 0 {
		return fmt.Errorf("fabric: a burst has three chances from 0 to 1, and ends: not %+v", b)
	}
	return nil
}

func isShare(v float64) bool { return v >= 0 && v <= 1 } // false for NaN

// A Radio is how a host is attached, and what a single hop between two hosts of the
// kind is like. Copy a preset and change it at will.
type Radio struct {
	// Name names the kind. Hosts with a range hear those of their own kind alone.
	Name string
	// Range is how many metres this host is heard from; zero means everywhere, as
	// through a switch or a provider. From 80 % of it on loss rises smoothly to one.
	Range float64
	// Shared is set where hosts near each other share the air and so Rate; else each
	// has an uplink of Rate and a downlink of Down.
	Shared bool
	// Classes is set where stations whose packets are urgent win the shared air before
	// others: WMM, the access categories of IEEE 802.11e. See Host.Urgent.
	Classes bool
	// Rate is in bits per second; Down too, and zero is Rate.
	Rate, Down float64
	// Overhead is the airtime or line time of a packet beside its bytes: preamble,
	// waiting for one's turn, acknowledgement.
	Overhead time.Duration
	// Latency of a hop; between two kinds each end contributes half of its own.
	Latency time.Duration
	// Jitter is the mean of what is added to Latency, exponentially distributed.
	Jitter time.Duration
	// Loss is the share of packets lost at a good distance; between two kinds each
	// end contributes half. Burst, if set, is beside it; the sender's counts.
	Loss  float64
	Burst Burst
	// MTU is the largest IP packet in bytes. Larger packets are dropped; streams
	// keep below it.
	MTU int
	// Queue bounds the bytes of packets that wait to be sent, and of those that wait
	// for somebody's downlink; what comes then is dropped.
	Queue int
	// Duty is the share of time a host may send at most; zero is no limit.
	Duty float64
}

// The presets: datasheet class, to be tuned for the radio at hand.
var (
	// LAN is a gigabit switch.
	LAN = Radio{Name: "lan", Rate: 1e9, Latency: 200 * time.Microsecond, Jitter: 20 * time.Microsecond, MTU: 1500, Queue: 512 << 10}
	// WiFiMesh is 802.11s/n between robots: 20 Mbit/s on one hop, 1/h of it after h.
	WiFiMesh = Radio{Name: "wifi-mesh", Range: 150, Shared: true, Classes: true, Rate: 20e6, Overhead: 100 * time.Microsecond,
		Latency: 3 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, MTU: 1500, Queue: 128 << 10}
	// Tactical is a military or industrial MANET radio.
	Tactical = Radio{Name: "tactical", Range: 3000, Shared: true, Rate: 10e6, Overhead: 300 * time.Microsecond,
		Latency: 10 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.02, MTU: 1500, Queue: 128 << 10}
	// XBee is 802.15.4 with 6LoWPAN: 250 kbit/s raw, of which 80 are usable.
	XBee = Radio{Name: "xbee-802.15.4", Range: 500, Shared: true, Rate: 80e3, Overhead: 2 * time.Millisecond,
		Latency: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, MTU: 1280, Queue: 16 << 10}
	// XBee900 is a 900 MHz modem at its higher rate, IP adapted to its frames.
	XBee900 = Radio{Name: "xbee-900", Range: 10000, Shared: true, Rate: 200e3, Overhead: 5 * time.Millisecond,
		Latency: 100 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, MTU: 1280, Queue: 16 << 10}
	// Crazyradio is the 2.4 GHz dongle of small drones: 2 Mbit/s for all.
	Crazyradio = Radio{Name: "crazyradio", Range: 50, Shared: true, Rate: 2e6, Overhead: 200 * time.Microsecond,
		Latency: 1500 * time.Microsecond, Jitter: 200 * time.Microsecond, Loss: 0.02, MTU: 1280, Queue: 32 << 10}
	// LoRa carries signed beacons and nothing else; Europe allows 1 % of the time.
	LoRa = Radio{Name: "lora", Range: 8000, Shared: true, Rate: 5e3, Overhead: 50 * time.Millisecond,
		Latency: 300 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: 0.1, MTU: 1280, Queue: 4 << 10, Duty: 0.01}
	// LTE is a mobile phone network, through its provider.
	LTE = Radio{Name: "lte", Rate: 10e6, Latency: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.01, MTU: 1500, Queue: 256 << 10}
	// Satellite is a link over a geostationary satellite.
	Satellite = Radio{Name: "satellite", Rate: 1e6, Latency: 600 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.01, MTU: 1500, Queue: 128 << 10}
)

// Presets lists the presets.
func Presets() []Radio {
	return []Radio{LAN, WiFiMesh, Tactical, XBee, XBee900, Crazyradio, LoRa, LTE, Satellite}
}

// Preset returns the preset of a name; ok is false if there is none.
func Preset(name string) (r Radio, ok bool) {
	all := Presets()
	i := slices.IndexFunc(all, func(r Radio) bool { return r.Name == name })
	if i < 0 {
		return Radio{}, false
	}
	return all[i], true
}

func (r Radio) validate() error {
	var errs []error
	complain := func(ok bool, what string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("fabric: radio %q: %s cannot be %v", r.Name, what, v))
		}
	}
	complain(r.Name != "", "the name", "empty")
	complain(r.Range >= 0 && !math.IsInf(r.Range, 0), "the range", r.Range)
	complain(r.Rate > 0 && !math.IsInf(r.Rate, 0), "the rate", r.Rate)
	complain(r.Down >= 0 && !math.IsInf(r.Down, 0), "the downlink's rate", r.Down)
	complain(!r.Shared || r.Down == 0, "the downlink's rate of a shared channel", r.Down)
	complain(r.Overhead >= 0, "the overhead", r.Overhead)
	complain(r.Latency >= 0, "the latency", r.Latency)
	complain(r.Jitter >= 0, "the jitter", r.Jitter)
	complain(isShare(r.Loss), "the loss", r.Loss)
	complain(r.MTU >= minMTU, "the MTU", r.MTU)
	complain(r.Queue > 0, "the queue", r.Queue)
	complain(isShare(r.Duty), "the duty", r.Duty)
	return errors.Join(append(errs, r.Burst.validate())...)
}

// greyFrom is the share of its range up to which a radio is heard well.
const greyFrom = 0.8

// grey is the share of packets lost by distance: 0 up to greyFrom of the range, 1
// from the range on, smooth in between.
func grey(distance, reach float64) float64 {
	x := (distance/reach - greyFrom) / (1 - greyFrom)
	x = min(max(x, 0), 1)
	return x * x * (3 - 2*x)
}
