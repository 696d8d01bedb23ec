// Command drmatrix kills and spoils drctl at every request that it makes, and counts what comes of it.
//
//	drmatrix -op cnpg-recover [-program bin/drctl] [-worlds 3] [-quick]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

func main() { os.Exit(run()) }

func run() int {
	op := flag.String("op", "cnpg-recover", "operation")
	program := flag.String("program", "bin/drctl", "the drctl to run")
	worlds := flag.Int("worlds", 3, "how many platforms to recover side by side; each takes about 1 GiB")
	quick := flag.Bool("quick", false, "every point once in one recovery, and one kind of fault")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *op != "cnpg-recover" {
		fmt.Fprintf(os.Stderr, "no operation is called %q; there is cnpg-recover\n", *op)
		return 2
	}
	tally, err := matrix(ctx, *program, *worlds, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Printf("%s: %s\n", *op, &tally)
	if err != nil || !tally.Good() {
		return 1
	}
	return 0
}

func matrix(ctx context.Context, program string, worlds int, quick bool) (tally flipworld.Tally, err error) {
	dir, err := os.MkdirTemp("", "drctl-matrix-")
	if err != nil {
		return tally, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	absolute, err := lab.ProgramPath(program)
	if err != nil {
		return tally, err
	}
	if quick {
		worlds = 1
	}
	var all []*flipworld.Matrix
	begin := time.Now()
	for i := range worlds {
		logf := func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%6s world %d: "+format+"\n", append([]any{time.Since(begin).Round(time.Second), i + 1}, args...)...)
		}
		stack := lab.NewStack(filepath.Join(dir, fmt.Sprint(i)), logf)
		defer func() { err = errors.Join(err, stack.Close()) }()
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint(i)), 0o755); err != nil {
			return tally, err
		}
		world, err := flipworld.Up(ctx, stack, flipworld.Options{Interval: 500 * time.Millisecond, Program: absolute})
		if err != nil {
			return tally, err
		}
		all = append(all, flipworld.NewMatrix(world, logf))
	}
	if quick {
		return all[0].Quick(ctx, lab.FaultKinds()[time.Now().YearDay()%len(lab.FaultKinds())])
	}
	return flipworld.All(ctx, all)
}
