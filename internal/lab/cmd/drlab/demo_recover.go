package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// recovery is the other half of drctl: a database is lost, and recovered, by the real operator from a real
// backup, while Argo CD's stand-in heals as eagerly as the real one. It needs PostgreSQL and Barman.
func (d *demo) recovery(ctx context.Context) error {
	if missing := lab.MissingForRecovery(); missing != "" {
		d.say("5. Recovering a database is shown where %s.", missing)
		return nil
	}
	d.say("5. A database is wrong, and recovered: the real CloudNativePG operator, a real PostgreSQL, Argo CD that heals every 0.5 s.")
	d.logf("starting a cluster with a database that archives to S3 (about 40 s)")
	// What Argo CD's stand-in does meanwhile shows in what drctl says.
	stack := lab.NewStack(filepath.Join(d.dir, "recovery"), func(format string, args ...any) {
		if !strings.HasPrefix(format, "argocd:") {
			d.logf(format, args...)
		}
	})
	d.stack.Defer(stack.Close)
	world, err := flipworld.Up(ctx, stack, flipworld.Options{Interval: 500 * time.Millisecond, Program: d.drctl})
	if err != nil {
		return err
	}
	o, err := world.NewOperator(ctx)
	if err != nil {
		return err
	}
	moment, err := d.damage(ctx, world)
	if err != nil {
		return err
	}
	for _, args := range []string{"cnpg recover immich --gitops platform --push --yes --target-time " + moment, "cnpg verify immich", "cnpg backups immich"} {
		if err := d.as(ctx, o, args); err != nil {
			return err
		}
	}
	return d.sql(ctx, world, countRows)
}

const countRows = "select count(*) from " + lab.RecoveryTable

// damage deletes rows, and gives the moment before that.
func (d *demo) damage(ctx context.Context, world *flipworld.World) (moment string, err error) {
	if err := d.sql(ctx, world, countRows); err != nil {
		return "", err
	}
	d.say("Somebody deletes half of the rows, a moment after this:")
	moment, err = world.SQL(ctx, `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
	if err != nil {
		return "", err
	}
	for _, sql := range []string{"delete from " + lab.RecoveryTable + " where id % 2 = 0", countRows} {
		if err := d.sql(ctx, world, sql); err != nil {
			return "", err
		}
	}
	// Two segments with commits behind the target: the last stretch of an archive is in doubt, and refused.
	for range 2 {
		if _, err := world.WriteRows(ctx, 1); err != nil {
			return "", err
		}
		if _, err := world.SwitchWAL(ctx); err != nil {
			return "", err
		}
	}
	return moment, nil
}

// sql shows what the database says.
func (d *demo) sql(ctx context.Context, world *flipworld.World, sql string) error {
	answer, err := world.SQL(ctx, sql)
	if err != nil {
		return err
	}
	if answer != "" {
		answer += "\n"
	}
	_, err = fmt.Fprintf(d.stdout, "\n$ psql immich -c '%s'\n%s", sql, answer)
	return err
}

// operator is somebody at a computer of a world.
type operator interface {
	Command(ctx context.Context, args ...string) *exec.Cmd
}

// as runs drctl as the operator of a world.
func (d *demo) as(ctx context.Context, o operator, args string) error {
	if _, err := fmt.Fprintf(d.stdout, "\n$ drctl %s\n", args); err != nil {
		return err
	}
	cmd := o.Command(ctx, strings.Fields(args)...)
	cmd.Stdout, cmd.Stderr = d.stdout, d.stdout
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("drctl %s ended with exit code %d", args, exit.ExitCode())
	}
	return err
}
