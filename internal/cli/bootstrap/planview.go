package bootstrapcmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/drctl/drctl/internal/bootstrap"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// headWidth is how wide the heads of a plan and of a report are; what they say begins behind it.
const headWidth = 17

func field(b *strings.Builder, head, text string, columns int) {
	fmt.Fprintf(b, "  %-14s %s\n", head, ui.Fold(text, headWidth, columns))
}

// writePlan is what a person reads before typing the name.
func writePlan(w io.Writer, streams ui.Streams, columns int, prepared *bootstrap.Prepared, plan operation.Plan) error {
	p := prepared.Params
	var b strings.Builder
	fmt.Fprintf(&b, "Plan %s\n", plan.ID)
	field(&b, "cluster", prepared.Identity.Server+inContext(prepared.Identity.Context), columns)
	field(&b, "tree", p.GitOps, columns)
	field(&b, "chart", fmt.Sprintf("%s %s from %s", bootstrap.ChartName, p.Version, from(p.Chart)), columns)
	field(&b, "release", p.Namespace+"/"+p.Release+before(prepared.Release), columns)
	field(&b, "root", p.RootFile, columns)
	field(&b, "changes", changesText(prepared.Changes), columns)
	b.WriteString("Steps\n")
	for i, step := range plan.Steps {
		mark := ""
		if step.PointOfNoReturn {
			mark = "  " + streams.Paint(ui.Bad, "<- from here on Argo CD acts by itself")
		}
		fmt.Fprintf(&b, "  %2d  %s%s\n", i+1, step.Title, mark)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func from(source recovery.ChartSource) string {
	if source.Repository != "" {
		return source.Repository
	}
	return source.Location
}

func before(release *recovery.Release) string {
	if release == nil {
		return ", which is not there"
	}
	return fmt.Sprintf(", revision %d at chart %s, %s", release.Revision, release.ChartVersion, release.Status)
}

func changesText(changes []string) string {
	const most = 6
	if len(changes) == 0 {
		return "none"
	}
	if len(changes) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(changes[:most], ", "), len(changes)-most)
	}
	return strings.Join(changes, ", ")
}

// dryRun is the answer of --dry-run.
type dryRun struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Plan       operation.PlanView `json:"plan"`
	Checks     []recovery.Check   `json:"checks"`
	Changes    []string           `json:"changes"`
	// Applications are those that the root will make.
	Applications []plannedApplication `json:"applications"`
	// Manifest is the release as YAML, without the values of Secrets; Root the root Application.
	Manifest string `json:"manifest"`
	Root     string `json:"root"`
}

type plannedApplication struct {
	Name string `json:"name"`
	Wave int    `json:"wave"`
	Path string `json:"path"`
	Set  string `json:"set"`
}

func printDryRun(streams ui.Streams, format ui.Format, prepared *bootstrap.Prepared, plan operation.Plan) error {
	view, err := operation.NewView(plan, nil)
	if err != nil {
		return err
	}
	view.State = operation.StatePending
	p := prepared.Params
	data := dryRun{
		APIVersion: recovery.APIVersion, Kind: "BootstrapPlan", Plan: view, Checks: prepared.Checks, Changes: prepared.Changes,
		Applications: []plannedApplication{}, Manifest: prepared.Manifest, Root: string(p.Root),
	}
	for _, app := range p.Applications {
		data.Applications = append(data.Applications, plannedApplication{app.Name, app.Wave, app.Path, app.Set})
	}
	return streams.Print(format, ui.View{Data: data, Names: []string{plan.ID}, Table: func(w io.Writer, _ bool) error {
		if err := writeChecks(w, streams, streams.Width, prepared.Checks, true); err != nil {
			return err
		}
		if err := writePlan(w, streams, streams.Width, prepared, plan); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "\nThe release's manifests:\n%s\nThe Applications that %s leads to:\n", strings.TrimRight(prepared.Manifest, "\n"), p.RootFile)
		if err != nil {
			return err
		}
		table := ui.NewTable("none", "WAVE", "APPLICATION", "FOLDER", "BY")
		for _, app := range data.Applications {
			table.Row(fmt.Sprint(app.Wave), app.Name, app.Path, app.Set)
		}
		if err := table.Within(streams.Width).Write(w); err != nil {
			return err
		}
		_, err = fmt.Fprint(w, "\nNothing was changed (--dry-run).\n")
		return err
	}})
}
