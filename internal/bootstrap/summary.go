package bootstrap

import (
	"fmt"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Report is what a bootstrap ends with, and what `-o json` prints.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Plan is empty when nothing had to be done.
	Plan    string `json:"plan"`
	Changed bool   `json:"changed"`
	// Chart is Argo CD's chart, ReadySeconds how long it took from the plan's beginning until Argo CD was ready,
	// HealthySeconds until every wave was; 0 when that was not seen.
	Chart          string              `json:"chart"`
	ReadySeconds   int64               `json:"readySeconds"`
	HealthySeconds int64               `json:"healthySeconds"`
	Healthy        bool                `json:"healthy"`
	Applications   []ReportApplication `json:"applications"`
	Blockers       []Blocker           `json:"blockers"`
	// Claims says how far the platform's own restores are.
	Claims      ReportClaims    `json:"claims"`
	EmptyClaims []EmptyClaim    `json:"emptyClaims"`
	Databases   []EmptyDatabase `json:"emptyDatabases"`
	// Next are what is left to do, in order.
	Next []string `json:"next"`
	// Unknown are what could not be looked at.
	Unknown []string `json:"unknown"`
}

// ReportApplication is one Application.
type ReportApplication struct {
	Name    string    `json:"name"`
	Wave    int       `json:"wave"`
	Sync    string    `json:"sync"`
	Health  string    `json:"health"`
	State   string    `json:"state"`
	Message string    `json:"message"`
	Since   time.Time `json:"since,omitzero"`
}

// ReportClaims counts the claims with a backup label.
type ReportClaims struct {
	Restored  int `json:"restored"`
	Restoring int `json:"restoring"`
	New       int `json:"new"`
}

// Report makes the report out of the last look.
func (p *Params) Report(planID string, w *Waves, created time.Time, fact func(string) string) *Report {
	r := &Report{
		APIVersion: recovery.APIVersion, Kind: "BootstrapReport", Plan: planID, Changed: planID != "", Chart: ChartName + " " + p.Version,
		Healthy: w.Healthy(), EmptyClaims: w.EmptyClaims, Applications: []ReportApplication{}, Blockers: w.Blockers, Databases: w.Empty, Unknown: []string{},
		ReadySeconds: since(created, fact(FactReady)), HealthySeconds: since(created, fact(FactHealthy)),
	}
	for i := range w.Applications {
		app := &w.Applications[i]
		state := app.State()
		r.Applications = append(r.Applications, ReportApplication{app.Name, app.Wave, app.Sync, app.Health, state, app.Message, app.Since.UTC()})
	}
	for _, claim := range w.Claims {
		switch {
		case claim.Source == "":
			r.Claims.New++
		case claim.Phase == "Bound":
			r.Claims.Restored++
		default:
			r.Claims.Restoring++
		}
	}
	for _, gap := range w.Unread {
		r.Unknown = append(r.Unknown, gap.Error())
	}
	if r.Blockers == nil {
		r.Blockers = []Blocker{}
	}
	if r.EmptyClaims == nil {
		r.EmptyClaims = []EmptyClaim{}
	}
	if r.Databases == nil {
		r.Databases = []EmptyDatabase{}
	}
	r.Next = p.next(w, r)
	return r
}

// Whole reports whether nothing is left over that a person must see to.
func (r *Report) Whole() bool {
	return r.Healthy && len(r.Databases) == 0 && len(r.EmptyClaims) == 0 && len(r.Unknown) == 0
}

// next is what is left to do. The password itself is never read.
func (p *Params) next(w *Waves, r *Report) []string {
	next := []string{}
	for _, database := range r.Databases {
		next = append(next, database.Command)
	}
	for _, claim := range r.EmptyClaims {
		next = append(next, claim.Command)
	}
	if !w.Healthy() {
		next = append(next, "drctl bootstrap"+inTree(p.GitOps)+", once the above is put right: it goes on watching")
	}
	if r.Claims.Restored+r.Claims.Restoring+r.Claims.New > 0 {
		next = append(next, "drctl pvc list")
	}
	return append(next,
		fmt.Sprintf("the UI: kubectl -n %s port-forward svc/%s-server 8080:443, then https://localhost:8080 as admin", p.Namespace, p.Release),
		fmt.Sprintf("its first password: kubectl -n %s get secret argocd-initial-admin-secret -o jsonpath='{.data.password}' | base64 -d", p.Namespace))
}

func inTree(dir string) string {
	if dir == "" {
		return ""
	}
	return " --gitops " + dir
}

func since(created time.Time, stamp string) int64 {
	moment, err := time.Parse(time.RFC3339, stamp)
	if err != nil || created.IsZero() {
		return 0
	}
	return int64(moment.Sub(created).Seconds())
}

// Blocked are the Applications that something holds back, sorted.
func (r *Report) Blocked() []string {
	var names []string
	for _, blocker := range r.Blockers {
		names = append(names, blocker.Application)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
