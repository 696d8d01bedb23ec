package pvccmd

import (
	"context"
	"fmt"
	"sync"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
)

// restoreMany restores many claims side by side.
func restoreMany(ctx context.Context, o *restoreOptions, wanted []restore.Options) error {
	f := o.factory
	use, err := f.Wiring.Restore(ctx, namespacesOf(wanted))
	if err != nil {
		return err
	}
	use.Unfinished = once(f.Unfinished)
	many := NewMany(f, use)
	waiting := f.Streams.Wait(fmt.Sprintf("checking what %d restores need", len(wanted)))
	prepared, refused, err := many.PrepareMany(ctx, wanted, func(done, all int) { waiting.Say(fmt.Sprintf("%d of %d", done, all)) })
	waiting.Done()
	if err != nil {
		return err
	}
	for _, refusal := range refused {
		f.Streams.Warn("%s is left out: %v", refusal.Target, refusal.Err)
	}
	if len(prepared) == 0 {
		return &recovery.Problem{What: "none of the claims can be restored", Why: refused[0].Err.Error(), Next: "mend that and try again", Err: refused[0].Err}
	}
	byTarget := map[string]restore.Options{}
	for _, w := range wanted {
		byTarget[w.Namespace+"/"+w.Name] = w
	}
	plan, err := many.PlanMany(prepared, byTarget, o.parallel)
	if err != nil {
		return err
	}
	if o.dryRun {
		return printManyDryRun(f.Streams, o.output, prepared, refused, plan)
	}
	if err := writeMany(f.Streams.Err, f.Streams, f.Streams.ErrWidth, prepared, plan); err != nil {
		return err
	}
	if !o.yes {
		// The number is typed, too: who reads it knows how many there are.
		question := fmt.Sprintf("This %s %d claims by their snapshots, and stops %s meanwhile.", verbOf(o.Mode), len(prepared), counted(podsOf(prepared), "Pod"))
		if err := f.Streams.Confirm(ctx, question, fmt.Sprintf("restore-%d", len(prepared))); err != nil {
			return err
		}
	}
	err = RunMany(ctx, f, many, plan, func(engine *operation.Engine) error { return engine.Start(ctx, plan) })
	return endMany(f, o.output.Format, plan.ID, refused, err)
}

func verbOf(mode restore.Mode) string {
	if mode == restore.InPlace {
		return "OVERWRITES the volumes of"
	}
	return "REPLACES the volumes of"
}

func podsOf(prepared []*restore.Prepared) int {
	pods := 0
	for _, p := range prepared {
		pods += len(p.Params.Pods)
	}
	return pods
}

func namespacesOf(wanted []restore.Options) []string {
	seen := map[string]bool{}
	var names []string
	for _, o := range wanted {
		if !seen[o.Namespace] {
			seen[o.Namespace] = true
			names = append(names, o.Namespace)
		}
	}
	return names
}

// once asks for the unfinished plans one time, and not for each claim.
func once(ask func(context.Context) ([]operation.PlanView, recovery.Gaps, error)) func(context.Context) ([]operation.PlanView, recovery.Gaps, error) {
	var mu sync.Mutex
	var views []operation.PlanView
	var gaps recovery.Gaps
	asked := false
	return func(ctx context.Context) ([]operation.PlanView, recovery.Gaps, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked {
			return views, gaps, nil
		}
		var err error
		views, gaps, err = ask(ctx)
		asked = err == nil
		return views, gaps, err
	}
}

// NewMany is the use case of many restores.
func NewMany(f *command.Factory, use *restore.Restore) *restore.Many {
	return &restore.Many{Restore: use, Plans: f.Wiring.Plans(), Engine: func(namespace string) (*operation.Engine, error) {
		engine, err := f.Wiring.PatientEngine(namespace, use.Handlers())
		if engine != nil {
			engine.Poll = Poll
		}
		return engine, err
	}}
}

// open is how many claims are not at their end: all of them when the plan begins.
func open(f *command.Factory, params *restore.ManyParams) int {
	count := 0
	for _, child := range params.Children {
		if view, err := f.Wiring.Plans().View(child.Plan); err != nil || view.Unfinished() {
			count++
		}
	}
	return count
}

// RunMany runs or resumes a plan of plans, with a board that tells how each goes.
func RunMany(ctx context.Context, f *command.Factory, many *restore.Many, plan operation.Plan, run func(*operation.Engine) error) error {
	params, err := restore.ManyParamsOf(&plan)
	if err != nil {
		return err
	}
	first := params.Children[0].Options.Namespace
	engine, err := f.Wiring.Engine(first, many.Handlers())
	if err != nil {
		return err
	}
	board := command.NewBoard(f, open(f, params))
	many.Events = board.Event
	many.Began = func(c restore.Child) { board.Began(c.Plan, c.Target()) }
	many.Ended = func(c restore.Child, err error) { board.Ended(c.Plan, c.Target(), err) }
	err = run(engine)
	board.Close()
	if ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	return err
}
