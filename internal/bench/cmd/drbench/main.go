// Command drbench runs drctl's benchmarks, prints the table, and writes one JSON file a work.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/bench"
	"github.com/drctl/drctl/internal/launch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	// Both sides of a work that run in this process get what drctl runs with, see internal/launch.
	launch.Done()
	drctl := flag.String("drctl", "bin/drctl", "the drctl binary")
	out := flag.String("out", "bench", "folder for the JSON files")
	flag.Parse()
	if err := run(ctx, *drctl, *out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "drbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, drctl, out string, wanted []string) error {
	drctl, err := filepath.Abs(drctl)
	if err != nil {
		return err
	}
	works := slices.Concat(bench.KopiaWorks(), bench.BarmanWorks(), bench.StartWorks(), bench.ExtractWorks(), bench.ForceWorks())
	var all []bench.Row
	for _, work := range works {
		if len(wanted) > 0 && !slices.Contains(wanted, work.Name) {
			continue
		}
		rows, err := runOne(ctx, work, drctl)
		if err != nil {
			return fmt.Errorf("%s: %w", work.Name, err)
		}
		if err := save(out, work.Name, rows); err != nil {
			return err
		}
		all = append(all, rows...)
	}
	_, err = fmt.Fprintln(os.Stdout, bench.Table(all))
	return err
}

func runOne(ctx context.Context, work bench.Work, drctl string) ([]bench.Row, error) {
	dir, err := os.MkdirTemp("", "drbench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	begin := time.Now()
	fmt.Fprintf(os.Stderr, "%s …\n", work.Name)
	rows, err := work.Run(ctx, bench.Env{Dir: dir, Drctl: drctl, Logf: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "  "+format+"\n", args...)
	}})
	fmt.Fprintf(os.Stderr, "%s took %s\n", work.Name, time.Since(begin).Round(time.Second))
	return rows, err
}

// save writes bench/NAME.json.
func save(out, name string, rows []bench.Row) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	content, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, name+".json"), append(content, '\n'), 0o644)
}
