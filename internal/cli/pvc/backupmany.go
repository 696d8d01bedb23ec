package pvccmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// backupList is the answer of a backup of many claims.
type backupList struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Items      []backupDone `json:"items"`
}

// backupDone is what became of one claim.
type backupDone struct {
	Target string `json:"target"`
	Plan   string `json:"plan"`
	// SnapshotID is the new, complete snapshot as the repository has it, empty when there is none.
	SnapshotID string `json:"snapshotID"`
	// State is finished, unfinished or refused.
	State       string `json:"state"`
	Why         string `json:"why,omitempty"`
	TookSeconds int64  `json:"tookSeconds"`

	err error
}

// many backs up many claims side by side: one that fails stops nobody else.
func (o *backupOptions) many(ctx context.Context, use *restore.Restore, wanted []restore.Options) error {
	f := o.factory
	if o.dryRun {
		return o.dryRunMany(ctx, use, wanted)
	}
	board := command.NewBoard(f, len(wanted))
	list := backupList{APIVersion: recovery.APIVersion, Kind: "BackupReportList", Items: make([]backupDone, len(wanted))}
	places := make(chan struct{}, o.parallel)
	var group sync.WaitGroup
	for i, w := range wanted {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			list.Items[i] = o.oneOfMany(ctx, use, w, board)
		})
	}
	group.Wait()
	board.Close()
	return o.report(ctx, list)
}

func (o *backupOptions) oneOfMany(ctx context.Context, use *restore.Restore, w restore.Options, board *command.Board) backupDone {
	f := o.factory
	done := backupDone{Target: w.Namespace + "/" + w.Name, State: "refused"}
	begun := f.Now()
	done.err = func() error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		prepared, err := use.PrepareBackup(ctx, w)
		if err != nil {
			return err
		}
		plan, err := use.PlanBackup(prepared)
		if err != nil {
			return err
		}
		engine, err := f.Wiring.PatientEngine(w.Namespace, use.Handlers())
		if err != nil {
			return err
		}
		done.Plan = plan.ID
		board.Began(plan.ID, done.Target)
		engine.Events, engine.Poll = board.Event, Poll
		if err := use.Run(ctx, engine, plan); err != nil {
			return err
		}
		_, facts, err := f.Wiring.Plans().Read(plan.ID)
		done.SnapshotID, done.State = facts[restore.FactBackup], operation.PlanFinished
		return err
	}()
	board.Ended(done.Plan, done.Target, done.err)
	done.TookSeconds = int64(f.Now().Sub(begun).Seconds())
	if done.err != nil {
		done.Why = done.err.Error()
	}
	if errors.Is(done.err, operation.ErrUnfinished) {
		done.State = operation.PlanUnfinished
	}
	return done
}

// report prints the list, and ends as the worst of its items does.
func (o *backupOptions) report(ctx context.Context, list backupList) error {
	streams := o.factory.Streams
	var names []string
	failed, unfinished := 0, false
	for _, item := range list.Items {
		if item.err == nil {
			names = append(names, item.SnapshotID)
			continue
		}
		failed++
		unfinished = unfinished || errors.Is(item.err, operation.ErrUnfinished)
	}
	err := streams.Print(o.output.Format, ui.View{Data: list, Names: names, Table: func(w io.Writer, _ bool) error {
		table := ui.NewTable("No claims.", "CLAIM", "STATE", "SNAPSHOT", "TOOK", "WHY")
		for _, item := range list.Items {
			tone := ui.Good
			if item.err != nil {
				tone = ui.Caution
			}
			table.Row(item.Target, streams.Paint(tone, item.State), item.SnapshotID, ui.Age(time.Duration(item.TookSeconds)*time.Second), item.Why)
		}
		return table.Within(streams.Width).Write(w)
	}})
	switch {
	case err != nil:
		return err
	case unfinished:
		return &recovery.Problem{What: fmt.Sprintf("%d of %d claims are not backed up", failed, len(list.Items)), Next: "see drctl plans", Err: operation.ErrUnfinished}
	case ctx.Err() != nil:
		return ctx.Err()
	case failed > 0:
		return recovery.ErrPartial
	}
	return nil
}

// dryRunMany prints what would be done for each claim.
func (o *backupOptions) dryRunMany(ctx context.Context, use *restore.Restore, wanted []restore.Options) error {
	var prepared []*restore.Prepared
	var refused []restore.Refusal
	for _, w := range wanted {
		p, err := use.PrepareBackup(ctx, w)
		if err != nil {
			refused = append(refused, restore.Refusal{Target: w.Namespace + "/" + w.Name, Err: err})
			continue
		}
		prepared = append(prepared, p)
	}
	for _, refusal := range refused {
		o.factory.Streams.Warn("%s is left out: %v", refusal.Target, refusal.Err)
	}
	if len(prepared) == 0 {
		return &recovery.Problem{What: "none of the claims can be backed up", Why: refused[0].Err.Error(), Next: "mend that and try again", Err: refused[0].Err}
	}
	plan, err := use.PlanBackup(prepared[0])
	if err != nil {
		return err
	}
	return printManyDryRun(o.factory.Streams, o.output, prepared, refused, plan)
}
