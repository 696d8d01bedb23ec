package pvccmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// dryRun is the answer of --dry-run.
type dryRun struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Plan has its steps, all of them pending.
	Plan     operation.PlanView `json:"plan"`
	Mode     restore.Mode       `json:"mode,omitempty"`
	Snapshot pvc.SnapshotItem   `json:"snapshot"`
	// Pods are those that would be stopped; Findings are what the preflight saw; Manifest is the claim that
	// would be created, null in place.
	Pods        []recovery.MountingPod `json:"pods"`
	Findings    []restore.Finding      `json:"findings"`
	LostSeconds int64                  `json:"lostSeconds"`
	Manifest    json.RawMessage        `json:"manifest"`
}

func newDryRun(prepared *restore.Prepared, plan operation.Plan) (dryRun, error) {
	view, err := operation.NewView(plan, nil)
	if err != nil {
		return dryRun{}, err
	}
	view.State = operation.StatePending
	p := prepared.Params
	out := dryRun{
		APIVersion: recovery.APIVersion, Kind: "RestorePlan", Plan: view, Mode: p.Mode, Snapshot: p.Snapshot, Pods: p.Pods,
		Findings: prepared.Findings, LostSeconds: prepared.LostSeconds, Manifest: p.Manifest,
	}
	if out.Findings == nil {
		out.Findings = []restore.Finding{}
	}
	return out, nil
}

func printDryRun(streams ui.Streams, output command.Output, prepared *restore.Prepared, plan operation.Plan) error {
	data, err := newDryRun(prepared, plan)
	if err != nil {
		return err
	}
	return streams.Print(output.Format, ui.View{Data: data, Names: []string{plan.ID}, Table: func(w io.Writer, _ bool) error {
		if err := writePlan(w, streams, streams.Width, prepared, plan); err != nil {
			return err
		}
		text := ""
		if prepared.Params.Manifest != nil {
			manifest, err := yaml.JSONToYAML(prepared.Params.Manifest)
			if err != nil {
				return fmt.Errorf("print the claim's manifest: %w", err)
			}
			text = "\nThe claim that is created:\n  " + strings.ReplaceAll(strings.TrimRight(string(manifest), "\n"), "\n", "\n  ") + "\n"
		}
		_, err := fmt.Fprint(w, text+"\nNothing was changed (--dry-run).\n")
		return err
	}})
}

// headWidth is how wide the heads of a plan and of a report are; what they say begins behind it.
const headWidth = 17

// field writes one line of a plan or a report, folded where the terminal is narrower.
func field(b *strings.Builder, head, text string, columns int) {
	fmt.Fprintf(b, "  %-14s %s\n", head, ui.Fold(text, headWidth, columns))
}

// writePlan is what a person reads before typing the name.
func writePlan(w io.Writer, streams ui.Streams, columns int, prepared *restore.Prepared, plan operation.Plan) error {
	p := prepared.Params
	var b strings.Builder
	fmt.Fprintf(&b, "Plan %s\n", plan.ID)
	field(&b, "cluster", prepared.Identity.Server+inContext(prepared.Identity.Context), columns)
	field(&b, "claim", claimLine(p), columns)
	if p.Snapshot.ID != "" {
		field(&b, "snapshot", fmt.Sprintf("%s of %s, begun %s, %s, %s", p.Snapshot.ID, p.Identity, ui.Minute(p.Snapshot.StartTime),
			counted(int(p.Snapshot.FileCount), "file"), ui.Size(p.Snapshot.SizeBytes)), columns)
		if p.Mode != restore.Beside {
			lost := "what was written since then (" + ui.Age(time.Duration(prepared.LostSeconds)*time.Second) + ")"
			fmt.Fprintf(&b, "  %-14s %s\n", "is lost", streams.Paint(ui.Caution, ui.Fold(lost, headWidth, columns)))
		}
	}
	if len(p.Pods) > 0 {
		field(&b, "stops", podNames(p.Pods), columns)
	}
	if p.Application != nil {
		field(&b, "Argo CD", "Application "+p.Application.Namespace+"/"+p.Application.Name, columns)
	}
	b.WriteString("Steps\n")
	for i, step := range plan.Steps {
		fmt.Fprintf(&b, "  %2d  %s%s\n", i+1, step.Title, returnMark(streams, columns, step))
	}
	writeFindings(&b, streams, columns, prepared.Findings, "")
	_, err := io.WriteString(w, b.String())
	return err
}

// returnMark marks the step behind which nothing can be undone; where it does not fit it has a line of its own.
func returnMark(streams ui.Streams, columns int, step operation.Step) string {
	const mark, number = "<- no way back but through what is kept of the old volume", 6
	switch {
	case !step.PointOfNoReturn:
		return ""
	case columns > 0 && number+len(step.Title)+2+len(mark) > columns:
		return "\n" + strings.Repeat(" ", number) + streams.Paint(ui.Bad, mark)
	}
	return "  " + streams.Paint(ui.Bad, mark)
}

// writeFindings writes what the preflight saw, of a claim that is named where there are several.
func writeFindings(b *strings.Builder, streams ui.Streams, columns int, findings []restore.Finding, claim string) {
	if claim != "" {
		claim += ": "
	}
	for _, finding := range findings {
		level := strings.ToUpper(finding.Level[:1]) + finding.Level[1:] + ":"
		fmt.Fprintf(b, "%s %s\n", streams.Paint(ui.Caution, level), ui.Fold(claim+finding.Text, len(level)+1, columns))
	}
}

func inContext(context string) string {
	if context == "" {
		return ""
	}
	return " (context " + context + ")"
}

func claimLine(p *restore.Params) string {
	text := p.Namespace + "/" + p.Name
	switch {
	case p.Mode == restore.Beside:
		return text + ", restored beside it as " + p.NewName
	case p.OldUID == "":
		return text + ", which is not there"
	case p.OldVolume.Name == "":
		return text
	}
	return fmt.Sprintf("%s, volume %s of %s", text, p.OldVolume.Name, ui.Size(p.OldVolume.SizeBytes))
}

func podNames(pods []recovery.MountingPod) string {
	var names []string
	for _, pod := range pods {
		name := "Pod " + pod.Name
		if pod.Controller != nil {
			name += " of " + pod.Controller.Kind + " " + pod.Controller.Name
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// Summary prints the report of a finished restore or backup.
func Summary(f *command.Factory, format ui.Format, planID string) error {
	plan, facts, err := f.Wiring.Plans().Read(planID)
	if err != nil {
		return err
	}
	params, err := restore.ParamsOf(&plan)
	if err != nil {
		return err
	}
	view, err := f.Wiring.Plans().View(planID)
	if err != nil {
		return err
	}
	fact := func(key string) string { return facts[key] }
	if plan.Operation == restore.BackupOperation {
		s := restore.SummarizeBackup(planID, params, plan.CreationTime, ended(view, f.Now()), fact)
		return f.Streams.Print(format, ui.View{Data: s, Names: []string{s.SnapshotID}, Table: func(w io.Writer, _ bool) error {
			_, err := fmt.Fprintf(w, "%s %s/%s is backed up: snapshot %s of %s (%s)\n", f.Streams.Paint(ui.Good, "✓"), s.Namespace, s.Name, s.SnapshotID, s.Source,
				ui.Age(time.Duration(s.TookSeconds)*time.Second))
			return err
		}})
	}
	s := restore.Summarize(planID, params, plan.CreationTime, ended(view, f.Now()), fact)
	return f.Streams.Print(format, ui.View{Data: s, Names: []string{s.Namespace + "/" + s.Name}, Table: func(w io.Writer, _ bool) error { return writeSummary(w, f.Streams, s) }})
}

func writeSummary(w io.Writer, streams ui.Streams, s *restore.Summary) error {
	var b strings.Builder
	line := func(head, text string) { field(&b, head, text, streams.Width) }
	age := func(seconds int64) string { return ui.Age(time.Duration(seconds) * time.Second) }
	fmt.Fprintf(&b, "%s %s/%s is restored.\n", streams.Paint(ui.Good, "✓"), s.Namespace, s.Name)
	line("restored to", ui.Minute(s.Snapshot.StartTime)+", snapshot "+s.Snapshot.ID)
	line("proven", s.Proof)
	line("RPO / RTO", age(s.RPOSeconds)+" / "+age(s.RTOSeconds))
	if s.DowntimeSeconds > 0 {
		line("downtime", age(s.DowntimeSeconds))
	}
	if s.BackupID != "" {
		line("backed up", "snapshot "+s.BackupID)
	}
	for _, note := range s.Notes {
		line("note", note)
	}
	if old := s.OldVolume; old != nil {
		line("before", fmt.Sprintf("%s %s (%s) is kept; to bring it back as claim %s-rescue:", old.Kind, old.Name, ui.Size(old.SizeBytes), s.Name))
		// Commands are not folded: they are there to be copied.
		for _, command := range old.BringBack {
			b.WriteString("    " + command + "\n")
		}
		b.WriteString("  or to remove it:\n    " + old.Remove + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
