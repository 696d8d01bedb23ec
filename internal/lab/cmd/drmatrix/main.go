// Command drmatrix kills and spoils drctl at every request that it makes, and counts what comes of it.
//
//	drmatrix [-op cnpg-recover|pvc-restore|bootstrap] [-program bin/drctl] [-worlds 3] [-quick] [-mode replace]
//
// Without -op it does all of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
	"github.com/drctl/drctl/internal/lab/disturb"
	"github.com/drctl/drctl/internal/lab/flipworld"
	"github.com/drctl/drctl/internal/lab/restoreworld"
)

func main() { os.Exit(run()) }

// choices are what the flags leave open.
type choices struct {
	program string
	worlds  int
	quick   bool
	modes   []restoreworld.Mode
}

// operation makes the matrices of one operation: those of a group share the work, groups come one after the
// other.
type operation struct {
	name string
	up   func(ctx context.Context, c choices, stacks []*lab.Stack) ([][]*disturb.Matrix, error)
}

func operations() []operation {
	return []operation{{"cnpg-recover", recoveries}, {"pvc-restore", restores}, {"bootstrap", bootstraps}}
}

func run() int {
	var c choices
	op := flag.String("op", "", "operation; all of them when empty")
	mode := flag.String("mode", "", "pvc-restore: replace, in-place or beside; all of them when empty")
	flag.StringVar(&c.program, "program", "bin/drctl", "the drctl to run")
	flag.IntVar(&c.worlds, "worlds", 3, "how many platforms side by side; each takes about 1 GiB")
	flag.BoolVar(&c.quick, "quick", false, "every point once in one operation, and one kind of fault")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, known := range restoreworld.Modes() {
		if *mode == "" || *mode == string(known) {
			c.modes = append(c.modes, known)
		}
	}
	chosen := slices.DeleteFunc(operations(), func(o operation) bool { return *op != "" && o.name != *op })
	if len(chosen) == 0 || len(c.modes) == 0 {
		fmt.Fprintf(os.Stderr, "no operation is called %q, or no mode %q; there are cnpg-recover, pvc-restore and bootstrap\n", *op, *mode)
		return 2
	}
	code := 0
	for _, o := range chosen {
		tally, err := matrix(ctx, o, c)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		fmt.Printf("%s: %s\n", o.name, &tally)
		if err != nil || !tally.Good() {
			code = 1
		}
	}
	return code
}

func matrix(ctx context.Context, o operation, c choices) (tally disturb.Tally, err error) {
	dir, err := os.MkdirTemp("", "drctl-matrix-")
	if err != nil {
		return tally, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c.program, err = lab.ProgramPath(c.program); err != nil {
		return tally, err
	}
	if c.quick {
		c.worlds = 1
	}
	begin := time.Now()
	var stacks []*lab.Stack
	for i := range c.worlds {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint(i)), 0o755); err != nil {
			return tally, err
		}
		stack := lab.NewStack(filepath.Join(dir, fmt.Sprint(i)), teller(begin, i))
		defer func() { err = errors.Join(err, stack.Close()) }()
		stacks = append(stacks, stack)
	}
	groups, err := o.up(ctx, c, stacks)
	if err != nil {
		return tally, err
	}
	for _, group := range groups {
		part, err := disturbed(ctx, group, c.quick)
		tally.Add(part)
		if err != nil {
			return tally, err
		}
	}
	return tally, nil
}

func disturbed(ctx context.Context, group []*disturb.Matrix, quick bool) (disturb.Tally, error) {
	if quick {
		return group[0].Quick(ctx, lab.FaultKinds()[time.Now().YearDay()%len(lab.FaultKinds())])
	}
	return disturb.All(ctx, group)
}

// teller says how it goes.
func teller(begin time.Time, world int) func(format string, args ...any) {
	return func(format string, args ...any) {
		text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
		fmt.Fprintf(os.Stderr, "%6s world %d: %s\n", time.Since(begin).Round(time.Second), world+1, text)
	}
}

func recoveries(ctx context.Context, c choices, stacks []*lab.Stack) ([][]*disturb.Matrix, error) {
	var group []*disturb.Matrix
	for _, stack := range stacks {
		world, err := flipworld.Up(ctx, stack, flipworld.Options{Interval: 500 * time.Millisecond, Program: c.program})
		if err != nil {
			return nil, err
		}
		group = append(group, flipworld.NewMatrix(world, stack.Logf).Matrix)
	}
	return [][]*disturb.Matrix{group}, nil
}

func restores(ctx context.Context, c choices, stacks []*lab.Stack) ([][]*disturb.Matrix, error) {
	groups := make([][]*disturb.Matrix, len(c.modes))
	for _, stack := range stacks {
		world, err := restoreworld.Up(ctx, stack, restoreworld.Options{Interval: 500 * time.Millisecond, Program: c.program})
		if err != nil {
			return nil, err
		}
		for i, mode := range c.modes {
			groups[i] = append(groups[i], restoreworld.NewMatrix(world, mode, stack.Logf))
		}
	}
	return groups, nil
}

func bootstraps(ctx context.Context, c choices, stacks []*lab.Stack) ([][]*disturb.Matrix, error) {
	var group []*disturb.Matrix
	for _, stack := range stacks {
		world, err := bootstrapworld.Up(ctx, stack, bootstrapworld.Options{Interval: 500 * time.Millisecond, Program: c.program})
		if err != nil {
			return nil, err
		}
		group = append(group, bootstrapworld.NewMatrix(world, stack.Logf))
	}
	return [][]*disturb.Matrix{group}, nil
}
