package plancmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/bootstrap"
	bootstrapcmd "github.com/drctl/drctl/internal/cli/bootstrap"
	cnpgcmd "github.com/drctl/drctl/internal/cli/cnpg"
	"github.com/drctl/drctl/internal/cli/command"
	pvccmd "github.com/drctl/drctl/internal/cli/pvc"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/pvc/restore"
	"github.com/drctl/drctl/internal/recovery"
)

// work is what can be done with a plan that was begun: each operation has its own.
type work struct {
	resume, abort func(ctx context.Context, o operation.ResumeOptions) error
	// report prints what the operation has to say at its end; err is how it ended.
	report func(output command.Output, err error) error
	// identity is the cluster at hand.
	uid, context string
}

// workFor makes the work of a plan of any operation.
func workFor(ctx context.Context, f *command.Factory, verb, id string, takeover bool) (*work, error) {
	plan, err := find(ctx, f, verb, id, takeover)
	if err != nil {
		return nil, err
	}
	offline := &recovery.Problem{What: verb + " plan " + id, Why: "--offline asks no cluster", Next: "leave --offline out", Err: recovery.ErrUsage}
	if f.Settings.Offline {
		return nil, offline
	}
	switch plan.Operation {
	case restore.Operation, restore.BackupOperation:
		return claimWork(ctx, f, plan)
	case restore.ManyOperation:
		return manyWork(ctx, f, plan)
	case bootstrap.Operation:
		return bootstrapWork(ctx, f, plan)
	case flip.Operation, flip.RevertOperation:
		use, err := f.Wiring.Flip(ctx)
		if err == nil && use.Cluster == nil {
			err = offline
		}
		if err != nil {
			return nil, err
		}
		return databaseWork(ctx, f, use, plan)
	}
	return nil, &recovery.Problem{
		What: verb + " plan " + id, Why: "this drctl knows no operation " + plan.Operation, Next: "use the drctl that made the plan, or a newer one", Err: recovery.ErrUnsupported,
	}
}

func databaseWork(ctx context.Context, f *command.Factory, use *flip.Flip, plan operation.Plan) (*work, error) {
	identity, err := use.Cluster.Identity(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := f.Wiring.Engine(namespaceOf(plan), use.Handlers())
	if err != nil {
		return nil, err
	}
	w := single(f, engine, plan.ID)
	w.uid, w.context = identity.ClusterUID, identity.Context
	w.report = func(output command.Output, err error) error {
		switch {
		case err != nil:
			return err
		case plan.Operation == flip.Operation:
			return cnpgcmd.Summary(f, output.Format, plan.ID)
		}
		_, err = fmt.Fprintln(f.Streams.Out, plan.Operation+" "+plan.Target+" is finished.")
		return err
	}
	return w, nil
}

// single is the work on one plan, told step by step.
func single(f *command.Factory, engine *operation.Engine, id string) *work {
	told := func(do func() error) error {
		reporter := command.NewReporter(f)
		engine.Events = reporter.Event
		defer reporter.Close()
		return do()
	}
	return &work{
		resume: func(ctx context.Context, o operation.ResumeOptions) error {
			return told(func() error { return engine.Resume(ctx, id, o) })
		},
		abort: func(ctx context.Context, o operation.ResumeOptions) error {
			return told(func() error { return engine.Abort(ctx, id, o) })
		},
	}
}

func claimWork(ctx context.Context, f *command.Factory, plan operation.Plan) (*work, error) {
	use, err := f.Wiring.Restore(ctx, []string{namespaceOf(plan)})
	if err != nil {
		return nil, err
	}
	identity, err := use.Cluster.Identity(ctx)
	if err != nil {
		return nil, err
	}
	engine, err := f.Wiring.Engine(namespaceOf(plan), use.Handlers())
	if err != nil {
		return nil, err
	}
	engine.Poll = pvccmd.Poll
	w := single(f, engine, plan.ID)
	w.uid, w.context = identity.ClusterUID, identity.Context
	w.resume = func(ctx context.Context, o operation.ResumeOptions) error {
		reporter := command.NewReporter(f)
		engine.Events = reporter.Event
		defer reporter.Close()
		return use.Resume(ctx, engine, plan, o)
	}
	w.report = func(output command.Output, err error) error {
		if err != nil {
			return err
		}
		return pvccmd.Summary(f, output.Format, plan.ID)
	}
	return w, nil
}

func bootstrapWork(ctx context.Context, f *command.Factory, plan operation.Plan) (*work, error) {
	params, err := bootstrap.ParamsOf(&plan)
	if err != nil {
		return nil, err
	}
	use, err := f.Wiring.Bootstrap(ctx, params.GitOps, params.SecretsDir)
	if err != nil {
		return nil, err
	}
	identity, err := use.Cluster.Identity(ctx)
	if err != nil {
		return nil, err
	}
	run := func(do func(*operation.Engine) error) error { return bootstrapcmd.RunPlan(f, use, do) }
	return &work{
		uid: identity.ClusterUID, context: identity.Context,
		resume: func(ctx context.Context, o operation.ResumeOptions) error {
			return run(func(engine *operation.Engine) error { return use.Resume(ctx, engine, plan, o) })
		},
		abort: func(ctx context.Context, o operation.ResumeOptions) error {
			return run(func(engine *operation.Engine) error { return engine.Abort(ctx, plan.ID, o) })
		},
		report: func(output command.Output, err error) error {
			return bootstrapcmd.End(ctx, f, output.Format, use, plan.ID, err)
		},
	}, nil
}

func manyWork(ctx context.Context, f *command.Factory, plan operation.Plan) (*work, error) {
	params, err := restore.ManyParamsOf(&plan)
	if err != nil {
		return nil, err
	}
	var namespaces []string
	for _, child := range params.Children {
		namespaces = append(namespaces, child.Options.Namespace)
	}
	use, err := f.Wiring.Restore(ctx, namespaces)
	if err != nil {
		return nil, err
	}
	identity, err := use.Cluster.Identity(ctx)
	if err != nil {
		return nil, err
	}
	many := pvccmd.NewMany(f, use)
	run := func(ctx context.Context, o operation.ResumeOptions, do func(*operation.Engine) error) error {
		many.ResumeWith(o)
		return pvccmd.RunMany(ctx, f, many, plan, do)
	}
	return &work{
		uid: identity.ClusterUID, context: identity.Context,
		resume: func(ctx context.Context, o operation.ResumeOptions) error {
			return run(ctx, o, func(engine *operation.Engine) error { return engine.Resume(ctx, plan.ID, o) })
		},
		abort: func(ctx context.Context, o operation.ResumeOptions) error {
			return run(ctx, o, func(engine *operation.Engine) error { return engine.Abort(ctx, plan.ID, o) })
		},
		report: func(output command.Output, err error) error { return pvccmd.EndMany(f, output.Format, plan.ID, err) },
	}, nil
}

// namespaceOf is where the plan's target lives, and with it its lock and its copy.
func namespaceOf(plan operation.Plan) string {
	namespace, _, _ := strings.Cut(plan.Target, "/")
	return namespace
}
