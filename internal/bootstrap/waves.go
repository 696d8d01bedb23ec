package bootstrap

import (
	"cmp"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Waves is how far the platform is: what drctl shows while it watches, and reports at the end.
type Waves struct {
	At time.Time
	// Applications are in order of wave and name. Those that Git will make and that are not there yet are among them.
	Applications []WaveApplication
	// Settled counts those at rest. Wave is the lowest one that is not.
	Settled, Wave int
	// Remaining is how long the rest may take, by what has finished; 0 when nothing can be told.
	Remaining time.Duration
	// Blockers are what holds the lowest wave back.
	Blockers []Blocker
	// Claims are those with a backup label.
	Claims []recovery.RestoringClaim
	// Empty are databases that came up empty although there are backups, EmptyClaims claims.
	Empty       []EmptyDatabase
	EmptyClaims []EmptyClaim
	// Unread are what could not be looked at.
	Unread recovery.Gaps
}

// WaveApplication is one line of the table.
type WaveApplication struct {
	recovery.ManagedApplication

	// Absent: Git will make it, and it is not there yet.
	Absent bool
	// Since is when its state was first seen to be what it is.
	Since time.Time
}

// State is Synced and Healthy at rest; else what it lacks, in a word or two.
func (a *WaveApplication) State() string {
	switch {
	case a.Absent:
		return "not there yet"
	case a.GaveUp:
		return "gave up"
	case a.Operation == "Running" || a.Operation == "Requested":
		return "syncing"
	case a.Sync == "" && a.Health == "":
		return "new"
	case a.Sync != "Synced":
		return cmp.Or(a.Sync, "Unknown")
	}
	return cmp.Or(a.Health, "Unknown")
}

// Blocker is something that holds a wave back, and how to put it right.
type Blocker struct {
	Application string `json:"application"`
	// What is the thing, with the cluster's own words; Fix is what to type or change.
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// EmptyDatabase is a database that was made anew, empty, although its backups are there.
type EmptyDatabase struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Restorable counts its backups, Newest is the end of the newest.
	Restorable int       `json:"restorable"`
	Newest     time.Time `json:"newest"`
	// Command recovers it.
	Command string `json:"command"`
}

// Healthy reports whether everything is at rest, and all that Git makes is there.
func (w *Waves) Healthy() bool { return w.Settled == len(w.Applications) && len(w.Applications) > 0 }

// Unsettled are the names of the Applications that are not at rest.
func (w *Waves) Unsettled() []string {
	names := []string{}
	for i := range w.Applications {
		if a := &w.Applications[i]; a.Absent || !a.AtRest() {
			names = append(names, a.Name)
		}
	}
	return names
}

// joined puts what is there and what is planned into one order. The root itself is at rest with the others: it is
// what makes them.
func joined(planned []recovery.PlannedApplication, live []recovery.ManagedApplication) []WaveApplication {
	var all []WaveApplication
	there := map[string]bool{}
	for _, app := range live {
		there[app.Name] = true
		all = append(all, WaveApplication{ManagedApplication: app})
	}
	for _, app := range planned {
		if !there[app.Name] {
			all = append(all, WaveApplication{Absent: true, ManagedApplication: recovery.ManagedApplication{Name: app.Name, Wave: app.Wave, Set: app.Set, Path: app.Path}})
		}
	}
	slices.SortFunc(all, func(a, b WaveApplication) int {
		return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// remaining guesses by what has finished: as long for each of the others as these took on the average.
func remaining(settled, total int, since time.Duration) time.Duration {
	const enough = 2
	if settled < enough || settled == total {
		return 0
	}
	return (since / time.Duration(settled) * time.Duration(total-settled)).Round(time.Second)
}
