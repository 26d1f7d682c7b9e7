package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/node/api"
	"github.com/starling-swarm/starling/node/config"
)

const (
	rateWant = "a rate such as 200KiB/s, of at least 4KiB/s, or one for each way: up=200KiB/s,down=1MiB/s,peer=50KiB/s"
	whenWant = "charging, still and idle, or some of them, with commas between"
)

// transfer is what a plan asks of transfers: see rollout.Transfer.
func (r *reader) transfer(maxRate, onlyWhen string) (t rollout.Transfer) {
	if maxRate != "" && !strings.Contains(maxRate, "=") {
		t.UpBytesPerSec = r.rate(maxRate, maxRate)
		t.DownBytesPerSec = t.UpBytesPerSec
	} else if maxRate != "" {
		ways := map[string]*int64{"up": &t.UpBytesPerSec, "down": &t.DownBytesPerSec, "peer": &t.PeerBytesPerSec}
		for _, part := range strings.Split(maxRate, ",") {
			way, rate, _ := strings.Cut(strings.TrimSpace(part), "=")
			to := ways[way]
			if to == nil || *to != 0 {
				r.bad("--max-rate", maxRate, rateWant)
				return t
			}
			*to = r.rate(maxRate, rate)
		}
	}
	if onlyWhen != "" {
		var names []string
		for _, name := range strings.Split(onlyWhen, ",") {
			names = append(names, strings.TrimSpace(name))
		}
		var err error
		if t.OnlyWhen, err = rollout.ConditionsOf(names); err != nil {
			r.bad("--only-when", onlyWhen, whenWant)
		}
	}
	return t
}

// rate reads "200KiB/s", which is text or a part of it; "/s" may be left out.
func (r *reader) rate(text, part string) int64 {
	var b config.Bytes
	part = strings.TrimSpace(part)
	err := b.UnmarshalText([]byte(strings.TrimSuffix(part, "/s")))
	if err != nil || int64(b) < rollout.MinRateBytesPerSec {
		r.bad("--max-rate", text, rateWant)
		return 0
	}
	return int64(b)
}

// transferFits refuses limits that this swarm's voters may not know.
func transferFits(v *view, p *rollout.Plan) error {
	if o := v.status.Order; !p.Transfer.IsZero() && o != nil && o.Level < rollout.TransferLevel {
		return problem(api.Refused, "update all machines, and starling status says for whom the level waits; until then plan without --max-rate and --only-when, or set transfer in each robot's configuration",
			"limits for transfers need feature level %d, swarm %s is at %d: some of its machines may run an older starling", rollout.TransferLevel, v.status.Swarm, o.Level)
	}
	return nil
}

// transferWarning says what only-when asks of the robots' applications; "" if nothing.
func transferWarning(p *rollout.Plan) string {
	said := slices.DeleteFunc(p.Transfer.OnlyWhen.Names(), func(name string) bool { return name == "idle" })
	if len(said) == 0 {
		return ""
	}
	return fmt.Sprintf("a robot whose application does not say that it is %s fetches nothing (starling condition set), and is deferred after %s (--install-deadline)",
		strings.Join(said, " and "), span(time.Duration(p.InstallDeadlineSeconds)*time.Second))
}
