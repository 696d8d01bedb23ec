package cnpgcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// dryRun is the answer of --dry-run.
type dryRun struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Plan has its steps, all of them pending.
	Plan          operation.PlanView `json:"plan"`
	Backup        recovery.Backup    `json:"backup"`
	ArchiveServer string             `json:"archiveServer,omitempty"`
	// Volumes are those that would be replaced.
	Volumes []recovery.Volume `json:"volumes"`
	// Findings are what the preflight saw; Manifest is what would be created, Diff the change of the tree.
	Findings    []flip.Finding  `json:"findings"`
	LostSeconds int64           `json:"lostSeconds"`
	Manifest    json.RawMessage `json:"manifest"`
	Diff        string          `json:"diff"`
}

func printDryRun(streams ui.Streams, output command.Output, prepared *flip.Prepared, plan operation.Plan) error {
	view, err := operation.NewView(plan, nil)
	if err != nil {
		return err
	}
	view.State = operation.StatePending
	findings, volumes, p := prepared.Findings, prepared.Params.Volumes, prepared.Params
	if findings == nil {
		findings = []flip.Finding{}
	}
	if volumes == nil {
		volumes = []recovery.Volume{}
	}
	return streams.Print(output.Format, ui.View{
		Data: dryRun{
			APIVersion: recovery.APIVersion, Kind: "RecoveryPlan", Plan: view, Backup: p.Backup, ArchiveServer: p.ArchiveServer, Volumes: volumes,
			Findings: findings, LostSeconds: prepared.LostSeconds, Manifest: p.Manifest, Diff: prepared.Diff,
		},
		Names: []string{plan.ID},
		Table: func(w io.Writer, _ bool) error {
			if err := writePlan(w, streams, prepared, plan); err != nil {
				return err
			}
			manifest, err := manifestYAML(prepared.Params.Manifest)
			if err != nil {
				return err
			}
			text := "\nThe Cluster that is created:\n" + indent(string(manifest))
			if prepared.Diff != "" {
				text = "\nThe change of the GitOps tree:\n" + indent(prepared.Diff) + text
			}
			_, err = fmt.Fprint(w, text+"\nNothing was changed (--dry-run).\n")
			return err
		},
	})
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}

// writePlan is what a person reads before typing the name.
func writePlan(w io.Writer, streams ui.Streams, prepared *flip.Prepared, plan operation.Plan) error {
	p := prepared.Params
	var b strings.Builder
	line := func(head, text string) { fmt.Fprintf(&b, "  %-14s %s\n", head, text) }
	fmt.Fprintf(&b, "Plan %s\n", plan.ID)
	line("cluster", prepared.Identity.Server+inContext(prepared.Identity))
	line("database", database(p, plan))
	line("backup", fmt.Sprintf("%s of %s, ended %s, %s, timeline %d, system %s",
		p.Backup.ID, p.SourceServer, ui.Minute(p.Backup.EndTime), ui.Size(p.Backup.SizeBytes), p.Backup.Timeline, p.Backup.SystemID))
	reverts := plan.Operation == flip.RevertOperation
	if !reverts {
		line("recovers to", recoversTo(p))
	}
	if p.NewName == "" && !reverts {
		line("is lost", streams.Paint(ui.Caution, isLost(prepared)))
	}
	if p.NewName == "" {
		line("backups go to", p.ArchiveServer)
	}
	if p.Git != nil {
		line("Git", p.Git.Directory+", branch "+p.Git.Branch+pushes(p, reverts))
	}
	if p.Application != nil {
		line("Argo CD", "Application "+p.Application.Namespace+"/"+p.Application.Name)
	}
	b.WriteString("Steps\n")
	for i, step := range plan.Steps {
		mark := ""
		if step.PointOfNoReturn {
			mark = streams.Paint(ui.Bad, "  <- no way back but through the old volumes")
		}
		fmt.Fprintf(&b, "  %2d  %s%s\n", i+1, step.Title, mark)
	}
	for _, finding := range prepared.Findings {
		fmt.Fprintf(&b, "%s %s\n", streams.Paint(ui.Caution, strings.ToUpper(finding.Level[:1])+finding.Level[1:]+":"), finding.Text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func inContext(identity flip.Identity) string {
	if identity.Context == "" {
		return ""
	}
	return " (context " + identity.Context + ")"
}

func database(p *flip.Params, plan operation.Plan) string {
	switch {
	case plan.Operation == flip.RevertOperation:
		return p.Namespace + "/" + p.Name + ", which was recovered: " + p.OldPhase
	case p.NewName != "":
		return p.Namespace + "/" + p.Name + ", recovered beside it as " + p.NewName
	case p.OldUID == "":
		return p.Namespace + "/" + p.Name + ", which is not there"
	}
	return p.Namespace + "/" + p.Name + ", now: " + p.OldPhase
}

func recoversTo(p *flip.Params) string {
	if !p.TargetTime.IsZero() {
		return ui.Time(p.TargetTime)
	}
	text := "the end of the archive: " + p.Reach.Segment + ", arrived " + ui.Time(p.Reach.ArrivedAt)
	if p.Reach.Gap != nil {
		text += fmt.Sprintf(" (behind it %d segments are missing)", p.Reach.Gap.Missing)
	}
	return text
}

// isLost says what the recovered database will lack.
func isLost(prepared *flip.Prepared) string {
	age := ui.Age(time.Duration(prepared.LostSeconds) * time.Second)
	if target := prepared.Params.TargetTime; !target.IsZero() {
		return "everything that was written since then (" + age + ")"
	}
	return "what was written in the last " + age + ", as far as it is not archived before the deletion"
}

func pushes(p *flip.Params, reverts bool) string {
	switch {
	case reverts:
		return ": its remote must name " + p.ArchiveServer
	case p.Push:
		return ", is pushed to " + p.Git.Remote
	}
	return ", is not pushed: drctl stops ahead of the hand-back until you have pushed (or add --push)"
}

func summaryView(streams ui.Streams, s *flip.Summary) ui.View {
	return ui.View{
		Data: s, Names: []string{s.Namespace + "/" + s.Name},
		Table: func(w io.Writer, _ bool) error { return writeSummary(w, streams, s) },
	}
}

func writeSummary(w io.Writer, streams ui.Streams, s *flip.Summary) error {
	var b strings.Builder
	line := func(head, text string) { fmt.Fprintf(&b, "  %-14s %s\n", head, text) }
	fmt.Fprintf(&b, "%s %s/%s is recovered.\n", streams.Paint(ui.Good, "✓"), s.Namespace, s.Name)
	line("recovered to", ui.Time(s.RecoveredTo)+" from "+s.SourceServer+"/"+s.Backup.ID)
	line("proven", s.Rows)
	line("RPO / RTO", ui.Age(time.Duration(s.RPOSeconds)*time.Second)+" / "+ui.Age(time.Duration(s.RTOSeconds)*time.Second))
	if s.ArchiveServer != "" {
		line("backups go to", s.ArchiveServer)
		line("old archive", fmt.Sprintf("%s holds %s that nothing expires any more", s.SourceServer, ui.Size(s.SourceSizeBytes)))
	}
	for _, volume := range s.Volumes {
		line("old volume", fmt.Sprintf("%s (%s) is kept; to bring it back as claim %s-rescue:", volume.Name, ui.Size(volume.SizeBytes), volume.Claim))
		for _, command := range volume.BringBack {
			b.WriteString("    " + command + "\n")
		}
		b.WriteString("  or to remove it, and then its data at the storage provider:\n    " + volume.Remove + "\n")
	}
	for _, name := range s.Restart {
		line("restart", name)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
