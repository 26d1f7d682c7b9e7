package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/starling-swarm/starling/artifacts/manifest"
	"github.com/starling-swarm/starling/consensus/rollout"
	"github.com/starling-swarm/starling/gossip/member"
	"github.com/starling-swarm/starling/node/api"
)

// fits refuses what a plan asks for and this swarm cannot give: the machine would
// take it, and round it to something that nobody meant.
func fits(v *view, p *prospect) error {
	var bad []string
	if n := int(p.plan.CanaryMin); n > p.preview.Robots {
		bad = append(bad, fmt.Sprintf("--canary-min %d: the release is for %d robots here", n, p.preview.Robots))
	}
	if n, may := p.preview.Canaries.Count(), int(p.plan.CanaryGate.MaxFailures); n > 0 && may >= n {
		bad = append(bad, fmt.Sprintf("--canary-max-failures %d: there are %d canaries, so no failure could ever stop the release", may, n))
	}
	for i, f := range p.plan.Floors {
		flag := fmt.Sprintf("--floor %s=%s:%d", f.Label, f.Value, f.MinAvailable)
		switch {
		case p.extract.Floors[i].Count() == 0:
			bad = append(bad, fmt.Sprintf("%s: no robot has this label; there are %s", flag, labelsInUse(v.roster)))
		case f.MinAvailable == 0:
			bad = append(bad, flag+": keeps nobody in service")
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return problem(api.Usage, "change the plan's flags", "the plan does not fit this swarm: %s", strings.Join(bad, "; "))
}

// maxLabels bounds the labels that one complaint lists.
const maxLabels = 12

// labelsInUse are the labels of the robots: "model=mk1 site=north".
func labelsInUse(r *member.Roster) string {
	in := map[string]bool{}
	for _, m := range r.Robots() {
		for k, val := range m.Labels {
			in[k+"="+val] = true
		}
	}
	if len(in) == 0 {
		return "none"
	}
	return strings.Join(short(slices.Sorted(maps.Keys(in)), maxLabels), " ")
}

// mayFollow refuses a release that the swarm would refuse too, before anything is
// signed, and with what to do instead.
func mayFollow(ctx context.Context, v *view, p *prospect) error {
	to, from := p.plan.Release, p.plan.From
	for _, q := range v.status.Quarantine {
		if q.Digest == to.Digest && !p.plan.DespiteQuarantine {
			return problem(api.Refused, "build a better one: starling ship PATH --version V; to let this very one out again: --despite-quarantine --reason TEXT",
				"%s %s failed here before and is quarantined", p.plan.Component, to.Version)
		}
	}
	if !p.release.MayReplace(from) {
		return problem(api.Refused, "roll out one of those first: starling rollout start "+p.release.From[0],
			"%s %s replaces only %s, and %s is active", p.plan.Component, to.Version, strings.Join(p.release.From, ", "), from.Version)
	}
	if from.IsZero() || to.Counter > from.Counter {
		return nil
	}
	old, _, err := v.document(ctx, from)
	if err != nil {
		return fmt.Errorf("%s is older than %s, which must say whether it may be gone back to: %w", to.Version, from.Version, err)
	}
	return mayGoBack(old, p.release)
}

// mayGoBack refuses a release that is older than the active one, if that does not
// list it.
func mayGoBack(active, to *manifest.Release) error {
	if active.MayFallBackTo(to.Ref()) {
		return nil
	}
	may := "lists none that it may go back to"
	if len(active.Fallbacks) > 0 {
		var names []string
		for _, f := range active.Fallbacks {
			names = append(names, f.Version)
		}
		may = "may go back only to " + strings.Join(names, ", ")
	}
	return problem(api.Refused, fmt.Sprintf("ship what %s holds under a new version: starling ship PATH --version V; and let the next release name what it may go back to: --fallback", to.Version),
		"%s %s is older than %s, which is active and %s", to.Component, to.Version, active.Version, may)
}

// rising refuses shares of waves that are not rising to all, in the words of the flag.
func rising(flag string, waves []uint16) error {
	for i, w := range waves {
		if w == 0 || (i > 0 && w <= waves[i-1]) {
			return usageError(fmt.Sprintf("--waves %s: each share counts the waves before it, so they must grow: %s cannot follow %s", flag, percent(int(w)), before(waves, i)))
		}
	}
	if last := waves[len(waves)-1]; last != 1000 {
		return usageError(fmt.Sprintf("--waves %s: the last wave must reach 100%%, or %s of the robots would never get the release", flag, percent(1000-int(last))))
	}
	if len(waves) > rollout.MaxWaves {
		return usageError(fmt.Sprintf("--waves %s: %d waves, the limit is %d", flag, len(waves), rollout.MaxWaves))
	}
	return nil
}

func before(waves []uint16, i int) string {
	if i == 0 {
		return "the start"
	}
	return percent(int(waves[i-1]))
}
