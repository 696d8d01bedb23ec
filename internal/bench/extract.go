package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// extractRounds is how often each side takes everything out; medians count.
	extractRounds = 3
	// smallDelay and largeDelay are what a request takes: a near store and one in the same region.
	smallDelay = 5 * time.Millisecond
	largeDelay = 20 * time.Millisecond

	extractSource = "data-pvc-backup@karakeep:/data"
)

// ExtractWorks measure taking files out of a snapshot in S3 against `kopia restore`.
func ExtractWorks() []Work {
	return []Work{
		{Name: "extract-small-files", Run: func(ctx context.Context, env Env) ([]Row, error) { return extractSmall(ctx, env, 50_000) }},
		{Name: "extract-large-file", Run: func(ctx context.Context, env Env) ([]Row, error) { return extractLarge(ctx, env, 4<<30) }},
		// The same in small, for a machine that is busy or has no room.
		{Name: "extract-some-files", Run: func(ctx context.Context, env Env) ([]Row, error) { return extractSmall(ctx, env, 5_000) }},
		{Name: "extract-medium-file", Run: func(ctx context.Context, env Env) ([]Row, error) { return extractLarge(ctx, env, 1<<30) }},
	}
}

// extractSmall takes many small files out, against both ways of calling Kopia.
func extractSmall(ctx context.Context, env Env, files int) ([]Row, error) {
	store, err := newExtractStore(ctx, env, smallDelay)
	if err != nil {
		return nil, err
	}
	defer store.close()
	env.Logf("backing up %d files", files)
	if err := store.backUp(ctx, func(dir string) error { return writeSmall(dir, files) }); err != nil {
		return nil, err
	}
	rows, err := store.compare(ctx, files, []anchor{{"kopia restore", nil, 4}, {"kopia restore --parallel=32", []string{"--parallel=32"}, 1.5}})
	for i := range rows {
		rows[i].Work = fmt.Sprintf("take %d files of 1 KB out of S3, %s a request, cold", files, smallDelay)
		rows[i].GoalCount = rows[i].TheirsCount / 50
	}
	return rows, err
}

// extractLarge takes one large file out.
func extractLarge(ctx context.Context, env Env, bytes int64) ([]Row, error) {
	store, err := newExtractStore(ctx, env, largeDelay)
	if err != nil {
		return nil, err
	}
	defer store.close()
	env.Logf("backing up one file of %d MiB", bytes>>20)
	if err := store.backUp(ctx, func(dir string) error { return writeLarge(filepath.Join(dir, "large"), bytes) }); err != nil {
		return nil, err
	}
	rows, err := store.compare(ctx, 1, []anchor{{"kopia restore", nil, 4}, {"kopia restore --parallel=32", []string{"--parallel=32"}, 0}})
	for i := range rows {
		rows[i].Work = fmt.Sprintf("take one file of %d MiB out of S3, %s a request, cold", bytes>>20, largeDelay)
	}
	return rows, err
}

// anchor is a way of calling Kopia, and how many times faster drctl is meant to be.
type anchor struct {
	name string
	args []string
	goal float64
}

// compare lets the sides take turns.
func (s *extractStore) compare(ctx context.Context, files int, anchors []anchor) ([]Row, error) {
	counts := make([]int64, 1+len(anchors))
	sides := []*side{{run: s.counted(&counts[0], s.drctl)}}
	for i, a := range anchors {
		sides = append(sides, &side{run: s.counted(&counts[1+i], func(ctx context.Context) (int, error) { return s.kopia(ctx, a.args) })})
	}
	if err := interleave(ctx, extractRounds, files, sides...); err != nil {
		return nil, err
	}
	if err := s.equal(); err != nil {
		return nil, err
	}
	var rows []Row
	for i, a := range anchors {
		rows = append(rows, Row{
			Anchor: a.name, Ours: sides[0].median(), Theirs: sides[1+i].median(), OursCount: counts[0], TheirsCount: counts[1+i],
			CountUnit: "reads of objects", GoalRatio: a.goal, Rounds: extractRounds,
		})
	}
	return rows, nil
}

// drctl takes everything out with the program.
func (s *extractStore) drctl(ctx context.Context) (int, error) {
	into := s.next("drctl")
	command := exec.CommandContext(ctx, s.program, "pvc", "extract", extractSource, "--offline", "--repo", s.repository(), "--endpoint-url", s.endpoint,
		"--output-dir", into)
	command.Env = append(s.Env(), "AWS_ACCESS_KEY_ID="+s.minio.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+s.minio.SecretAccessKey, "AWS_REGION=us-east-1")
	if out, err := command.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("bench: %v: %w\n%s", command.Args, err, out)
	}
	return countFiles(into)
}

// kopia takes everything out with Kopia, which is connected anew so that nothing is cached.
func (s *extractStore) kopia(ctx context.Context, args []string) (int, error) {
	if err := os.RemoveAll(filepath.Join(s.Home, "cache")); err != nil {
		return 0, fmt.Errorf("bench: empty Kopia's cache: %w", err)
	}
	into := s.next("kopia")
	if _, err := s.Run(ctx, append([]string{"restore", s.snapshot, into}, args...)...); err != nil {
		return 0, err
	}
	return countFiles(into)
}

// next names the folder of the next run of a side, and removes that of the one before, except the
// first, which is compared in the end.
func (s *extractStore) next(name string) string {
	s.runs[name]++
	if s.runs[name] > 2 {
		_ = os.RemoveAll(filepath.Join(s.dir, name+strconv.Itoa(s.runs[name]-1))) // the whole folder goes in the end
	}
	return filepath.Join(s.dir, name+strconv.Itoa(s.runs[name]))
}
