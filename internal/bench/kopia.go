package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/drctl/drctl/internal/kopia"
)

const (
	// kopiaRounds is how often each side lists; medians count.
	kopiaRounds = 7
	// kopiaDelay is what a storage operation takes in the cold work: a near server.
	kopiaDelay = 5 * time.Millisecond
)

// KopiaWorks measure the listing of all snapshots against the Kopia command line and library.
func KopiaWorks() []Work {
	return []Work{
		{Name: "kopia-list", Run: kopiaList},
		{Name: "kopia-list-operations", Run: kopiaOperations},
		{Name: "kopia-list-cold", Run: kopiaCold},
	}
}

// side is one of the programs that take turns.
type side struct {
	run   func(ctx context.Context) (snapshots int, err error)
	times []time.Duration
}

// interleave lets the sides take turns, and checks that they find the same number of snapshots.
func interleave(ctx context.Context, rounds, snapshots int, sides ...*side) error {
	for range rounds {
		for i, s := range sides {
			begin := time.Now()
			found, err := s.run(ctx)
			if err != nil {
				return err
			}
			s.times = append(s.times, time.Since(begin))
			if found != snapshots {
				return fmt.Errorf("bench: side %d lists %d snapshots, not %d", i, found, snapshots)
			}
		}
	}
	return nil
}

func (s *side) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[len(sorted)/2]
}

// kopiaList is the warm listing of many snapshots: page cache and Kopia's own caches are filled.
func kopiaList(ctx context.Context, env Env) ([]Row, error) {
	const sources, each = 500, 11
	repository, closeLab, err := newKopiaRepository(ctx, env)
	if err != nil {
		return nil, err
	}
	defer closeLab()
	env.Logf("writing %d snapshots of %d sources", sources*each, sources)
	if err := repository.fill(ctx, sources, each, sources); err != nil {
		return nil, err
	}
	ours := &side{run: repository.drctl(env.Drctl)}
	standard := &side{run: repository.commandLine("snapshot", "list", "--all", "--json")}
	tuned := &side{run: repository.commandLine("snapshot", "list", "--all", "--json", "--no-retention")}
	if err := interleave(ctx, 1, sources*each, ours, standard, tuned); err != nil { // fills the caches
		return nil, err
	}
	ours.times, standard.times, tuned.times = nil, nil, nil
	if err := interleave(ctx, kopiaRounds, sources*each, ours, standard, tuned); err != nil {
		return nil, err
	}
	by := "drctl"
	if env.Drctl == "" {
		by = "drctl's library"
	}
	work := fmt.Sprintf("%s lists %d snapshots of %d sources, warm", by, sources*each, sources)
	return []Row{
		{Work: work, Anchor: "kopia snapshot list --all --json", Ours: ours.median(), Theirs: standard.median(), OursCount: -1, TheirsCount: -1, GoalRatio: 6, Rounds: kopiaRounds},
		{Work: work, Anchor: "kopia snapshot list --all --json --no-retention", Ours: ours.median(), Theirs: tuned.median(), OursCount: -1, TheirsCount: -1, GoalRatio: 1.4, Rounds: kopiaRounds},
	}, nil
}

// kopiaOperations counts operations on files and folders of one listing with an expired list cache.
func kopiaOperations(ctx context.Context, env Env) ([]Row, error) {
	const sources, each = 100, 8
	repository, closeLab, err := newKopiaRepository(ctx, env)
	if err != nil {
		return nil, err
	}
	defer closeLab()
	if err := repository.fill(ctx, sources, each, sources); err != nil {
		return nil, err
	}
	var files, cached, theirFiles counter
	cache := filepath.Join(env.Dir, "drctl-cache")
	ours := &side{run: repository.library(kopia.Options{WrapFiles: files.countFiles})}
	oursCached := &side{run: repository.library(kopia.Options{WrapFiles: cached.countFiles, CacheDirectory: cache})}
	library, err := repository.connectLibrary(ctx, theirFiles.countStorage)
	if err != nil {
		return nil, err
	}
	theirs := &side{run: library.list}
	if err := interleave(ctx, 1, sources*each, oursCached, theirs); err != nil { // fills the caches
		return nil, err
	}
	for _, c := range []*counter{&files, &cached, &theirFiles} {
		c.reset()
	}
	for _, s := range []*side{ours, oursCached, theirs} {
		s.times = nil
	}
	if err := interleave(ctx, 1, sources*each, ours, oursCached, theirs); err != nil {
		return nil, err
	}
	row := Row{
		Work:   fmt.Sprintf("list %d snapshots written in %d sessions, file operations, both with a filled cache", sources*each, each),
		Anchor: "kopia's library as snapshot list --no-retention uses it, list cache expired",
		Ours:   oursCached.median(), Theirs: theirs.median(), OursCount: cached.total(), TheirsCount: theirFiles.total(),
		CountUnit: "folder opens, file opens, stats", GoalCount: 16, Rounds: 1,
	}
	bare := row
	bare.Work = fmt.Sprintf("list %d snapshots written in %d sessions, file operations, drctl without any cache", sources*each, each)
	bare.Ours, bare.OursCount, bare.GoalCount = ours.median(), files.total(), 0
	return []Row{row, bare}, nil
}

// kopiaCold is the first listing ever, over a slow storage, of a repository that no maintenance ran
// in: one index blob for each backup.
func kopiaCold(ctx context.Context, env Env) ([]Row, error) {
	const indexBlobs, rounds = 2000, 3
	repository, closeLab, err := newKopiaRepository(ctx, env)
	if err != nil {
		return nil, err
	}
	defer closeLab()
	env.Logf("writing %d snapshots in as many sessions", indexBlobs)
	if err := repository.fill(ctx, 20, indexBlobs/20, 1); err != nil {
		return nil, err
	}
	var ourCount, theirCount counter
	ours := &side{run: repository.library(kopia.Options{Wrap: ourCount.delay(kopiaDelay)})}
	theirs := &side{run: func(ctx context.Context) (int, error) {
		library, err := repository.connectLibrary(ctx, theirCount.delayStorage(kopiaDelay))
		if err != nil {
			return 0, err
		}
		return library.list(ctx)
	}}
	if err := interleave(ctx, rounds, indexBlobs, ours, theirs); err != nil {
		return nil, err
	}
	return []Row{{
		Work:   fmt.Sprintf("list %d snapshots out of %d index blobs, cold, %s an operation", indexBlobs, indexBlobs, kopiaDelay),
		Anchor: "kopia's library as snapshot list --no-retention uses it, empty cache",
		Ours:   ours.median(), Theirs: theirs.median(), OursCount: ourCount.total() / rounds, TheirsCount: theirCount.total() / rounds,
		CountUnit: "storage operations", GoalRatio: 5, Rounds: rounds,
	}}, nil
}

// commandLine lists with the Kopia program.
func (r *kopiaRepository) commandLine(args ...string) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		out, err := r.Run(ctx, args...)
		if err != nil {
			return 0, err
		}
		var snapshots []json.RawMessage
		if err := json.Unmarshal(out, &snapshots); err != nil {
			return 0, fmt.Errorf("bench: read Kopia's listing: %w", err)
		}
		return len(snapshots), nil
	}
}

// drctl lists with the program where there is one, else with the library.
func (r *kopiaRepository) drctl(program string) func(context.Context) (int, error) {
	if program == "" {
		return r.library(kopia.Options{})
	}
	return func(ctx context.Context) (int, error) {
		command := exec.CommandContext(ctx, program, "pvc", "snapshots", "-A", "--incomplete", "-o", "json", "--offline", "--repo", r.dir)
		command.Env = append(r.Env(), "HOME="+filepath.Join(r.dir, "..", "home"))
		out, err := command.Output()
		if err != nil {
			return 0, fmt.Errorf("bench: %v: %w", command.Args, err)
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(out, &list); err != nil {
			return 0, fmt.Errorf("bench: read drctl's listing: %w", err)
		}
		return len(list.Items), nil
	}
}

// library lists with drctl's library and writes JSON, as the programs do.
func (r *kopiaRepository) library(o kopia.Options) func(context.Context) (int, error) {
	o.Password = func(context.Context) (string, error) { return r.Password, nil }
	return func(ctx context.Context) (int, error) {
		repository, err := kopia.Open(ctx, kopia.Location{Scheme: kopia.SchemeFile, Path: r.dir}, o)
		if err != nil {
			return 0, err
		}
		snapshots, gaps, err := repository.Snapshots(ctx)
		if err != nil {
			return 0, err
		}
		if len(gaps) > 0 {
			return 0, gaps[0]
		}
		if err := json.NewEncoder(io.Discard).Encode(snapshots); err != nil {
			return 0, err
		}
		return len(snapshots), repository.Close(ctx)
	}
}
