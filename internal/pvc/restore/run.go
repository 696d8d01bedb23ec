package restore

import (
	"context"
	"errors"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Run runs a plan of this package to its end. A restore whose data cannot be proven is taken back at once,
// as long as nothing of the claim was touched: then nothing is left of it, and the answer is unknown.
func (r *Restore) Run(ctx context.Context, engine *operation.Engine, plan operation.Plan) error {
	return r.takeBack(ctx, engine, plan, engine.Start(ctx, plan))
}

// Resume goes on with a plan, in the same manner.
func (r *Restore) Resume(ctx context.Context, engine *operation.Engine, plan operation.Plan, o operation.ResumeOptions) error {
	return r.takeBack(ctx, engine, plan, engine.Resume(ctx, plan.ID, o))
}

func (r *Restore) takeBack(ctx context.Context, engine *operation.Engine, plan operation.Plan, cause error) error {
	if !errors.Is(cause, ErrUnproven) || ctx.Err() != nil {
		return cause
	}
	err := engine.Abort(ctx, plan.ID, operation.ResumeOptions{ClusterUID: plan.ClusterUID, Context: plan.Context})
	if errors.Is(err, operation.ErrPastReturn) {
		return cause
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	out := &recovery.Problem{What: plan.Operation + " " + plan.Target, Why: cause.Error(), Err: errors.Join(recovery.ErrPartial, ErrUnproven)}
	var problem *recovery.Problem
	if unproven(cause, &problem) {
		out.Why, out.Next = problem.Why+"; nothing of the claim was touched, and what drctl made is removed", problem.Next
	}
	return out
}

// unproven finds the innermost problem, which is the one that says what was seen.
func unproven(err error, found **recovery.Problem) bool {
	for err != nil {
		var problem *recovery.Problem
		if !errors.As(err, &problem) {
			return *found != nil
		}
		*found = problem
		joined, several := problem.Err.(interface{ Unwrap() []error }) //nolint:errorlint // What was joined is looked through one by one.
		if !several {
			err = problem.Err
			continue
		}
		err = nil
		for _, part := range joined.Unwrap() {
			if inner := (*recovery.Problem)(nil); errors.As(part, &inner) {
				err = part
			}
		}
	}
	return *found != nil
}
