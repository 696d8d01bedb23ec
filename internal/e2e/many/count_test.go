package many

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
)

// kindOf is what a request asks for: verb and resource, a dry run and a log apart.
func kindOf(r lab.Request) string {
	kind := r.Verb + " " + cmp.Or(r.Resource, strings.SplitN(r.URI, "?", 2)[0])
	if r.Subresource != "" {
		kind += "/" + r.Subresource
	}
	if strings.Contains(r.URI, "dryRun=All") {
		kind += " (dry run)"
	}
	return kind
}

// counts counts requests by what they ask for.
func counts(requests []lab.Request) map[string]int {
	all := map[string]int{}
	for _, r := range requests {
		all[kindOf(r)]++
	}
	return all
}

// table is the counts of one restore and of many, for people.
func table(one, many map[string]int, claims int) string {
	kinds := slices.Collect(maps.Keys(many))
	slices.SortFunc(kinds, func(a, b string) int { return cmp.Or(cmp.Compare(many[b], many[a]), cmp.Compare(a, b)) })
	var lines strings.Builder
	for _, kind := range kinds {
		fmt.Fprintf(&lines, "%6d %7.2f a claim %5d for one  %s\n", many[kind], float64(many[kind])/float64(claims), one[kind], kind)
	}
	return lines.String()
}

// reactions are the times between VolSync's last word on each destination and drctl's next request about it. A
// plan that is not finished has not had that word.
func reactions(requests, written []lab.Request, got report) []time.Duration {
	finished := map[string]bool{}
	for _, item := range got.Items {
		finished[item.Plan] = item.State == "finished"
	}
	ended := map[string]time.Time{}
	for _, r := range written {
		if finished[r.Name] && r.Resource == "replicationdestinations" && r.Subresource == "status" && r.Answered.After(ended[r.Name]) {
			ended[r.Name] = r.Answered
		}
	}
	var all []time.Duration
	for plan, end := range ended {
		for _, r := range requests {
			if strings.Contains(r.Name, plan) && r.Subresource != "log" && r.Received.After(end) {
				all = append(all, r.Received.Sub(end))
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

// quantile of sorted times.
func quantile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(part*float64(len(sorted))))]
}
