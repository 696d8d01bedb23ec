package pvccmd

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// writeMany is what a person reads of many restores before agreeing. The waves are shown where there are any.
func writeMany(w io.Writer, streams ui.Streams, columns int, prepared []*restore.Prepared, plan operation.Plan) error {
	if _, err := fmt.Fprintf(w, "Plan %s\n  cluster        %s%s\n\n", plan.ID, prepared[0].Identity.Server, inContext(prepared[0].Identity.Context)); err != nil {
		return err
	}
	waves := false
	for _, p := range prepared {
		waves = waves || p.Wave != 0
	}
	heads := []string{"CLAIM", "SNAPSHOT", "BEGUN", "FILES", "SIZE", "IS LOST", "STOPS"}
	if waves {
		heads = append(heads, "WAVE")
	}
	table := ui.NewTable("No claims.", heads...)
	var findings strings.Builder
	for _, p := range prepared {
		claim, snapshot := p.Params.Namespace+"/"+p.Params.Name, p.Params.Snapshot
		cells := []string{
			claim, snapshot.ID[:min(len(snapshot.ID), 10)], ui.Minute(snapshot.StartTime), ui.Count(int(snapshot.FileCount)), ui.Size(snapshot.SizeBytes),
			ui.Age(time.Duration(p.LostSeconds) * time.Second), counted(len(p.Params.Pods), "Pod"),
		}
		if waves {
			cells = append(cells, fmt.Sprint(p.Wave))
		}
		table.Row(cells...)
		writeFindings(&findings, streams, columns, p.Findings, claim)
	}
	if err := table.Within(columns).Write(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, findings.String())
	return err
}

// manyDryRun is the answer of --dry-run for many claims.
type manyDryRun struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Items      []dryRun  `json:"items"`
	Refused    []OneDone `json:"refused"`
}

func printManyDryRun(streams ui.Streams, output command.Output, prepared []*restore.Prepared, refused []restore.Refusal, plan operation.Plan) error {
	data := manyDryRun{APIVersion: recovery.APIVersion, Kind: "RestorePlanList", Items: []dryRun{}, Refused: []OneDone{}}
	var names []string
	for _, p := range prepared {
		item, err := newDryRun(p, operation.Plan{ID: p.ID, Operation: restore.Operation, Target: p.Params.Namespace + "/" + p.Params.Name, RecoveryPoint: p.Params.Snapshot.ID})
		if err != nil {
			return err
		}
		data.Items = append(data.Items, item)
		names = append(names, p.Params.Namespace+"/"+p.Params.Name)
	}
	for _, refusal := range refused {
		data.Refused = append(data.Refused, OneDone{Target: refusal.Target, State: "refused", Why: refusal.Err.Error()})
	}
	err := streams.Print(output.Format, ui.View{Data: data, Names: names, Table: func(w io.Writer, _ bool) error {
		if err := writeMany(w, streams, streams.Width, prepared, plan); err != nil {
			return err
		}
		_, err := fmt.Fprint(w, "\nNothing was changed (--dry-run).\n")
		return err
	}})
	if err == nil && len(refused) > 0 {
		return recovery.ErrPartial
	}
	return err
}

// writeManyReport is what became of each claim, and below that, of those that are left, why and what to do.
func writeManyReport(w io.Writer, streams ui.Streams, r *ManyReport) error {
	table := ui.NewTable("No claims.", "CLAIM", "STATE", "TOOK", "PLAN")
	var left strings.Builder
	for _, item := range r.Items {
		tone, state, took := ui.Caution, item.State, ""
		if item.State == operation.PlanFinished {
			tone, state = ui.Good, "restored"
		}
		if item.TookSeconds > 0 {
			took = ui.Age(time.Duration(item.TookSeconds) * time.Second)
		}
		table.Row(item.Target, streams.Paint(tone, state), took, item.Plan)
		if item.State != operation.PlanFinished {
			writeLeft(&left, streams, item)
		}
	}
	if err := table.Within(streams.Width).Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s%d of %d restored\n", left.String(), r.Restored, len(r.Items))
	return err
}

func writeLeft(b *strings.Builder, streams ui.Streams, item OneDone) {
	fmt.Fprintf(b, "%s\n", item.Target)
	if item.Why != "" {
		fmt.Fprintf(b, "  why:  %s\n", ui.Fold(item.Why, 8, streams.Width))
	}
	if item.Next != "" {
		fmt.Fprintf(b, "  next: %s\n", item.Next)
	}
}
