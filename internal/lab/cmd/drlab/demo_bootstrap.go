package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
)

// bootstrap takes an empty cluster to every wave healthy: a real API server with controllers and scheduler, Helm's own
// library, and an Argo CD stand-in that comes to life when its chart is installed.
func (d *demo) bootstrap(ctx context.Context) (err error) {
	if missing := lab.MissingForRestore(); missing != "" {
		d.say("6. Bootstrapping a cluster is shown where %s.", missing)
		return nil
	}
	d.say("6. The cluster is lost. A new one is there, and nothing is on it but Cilium.")
	d.logf("starting an empty cluster (about 10 s)")
	stack := lab.NewStack(filepath.Join(d.dir, "bootstrap"), func(format string, args ...any) {
		if !strings.HasPrefix(format, "argocd:") {
			d.logf(format, args...)
		}
	})
	defer func() { err = errors.Join(err, stack.Close()) }()
	world, err := bootstrapworld.Up(ctx, stack, bootstrapworld.Options{Interval: 500 * time.Millisecond, Program: d.drctl})
	if err != nil {
		return err
	}
	attempt, err := world.Attempt(ctx)
	if err != nil {
		return err
	}
	if err := d.as(ctx, attempt.Operator, strings.Join(attempt.Operation(), " ")); err != nil {
		return err
	}
	// The oracle: Helm's record, the Secrets, the Applications, and that nothing of drctl's is left.
	if err := attempt.Done(ctx); err != nil {
		return err
	}
	d.say("Once more: there is nothing to do, and nothing is changed.")
	return d.as(ctx, attempt.Operator, strings.Join(attempt.Operation(), " "))
}
