package lab

import (
	"context"
	"fmt"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"

	"github.com/drctl/drctl/internal/recovery"
)

// manyTrees is how many different folders the snapshots of SeedManySnapshots share.
const manyTrees = 16

// manyEpoch is when the first snapshot of SeedManySnapshots was taken: fixed, so that two runs differ
// in the IDs only.
func manyEpoch() time.Time { return time.Date(2026, time.January, 5, 2, 0, 0, 123456789, time.UTC) }

// SeedManySnapshots makes a big repository in dir: sources × snapshotsPerSource snapshots, an hour
// apart, of 16 different small folders, with VolSync's identities. The newest snapshot of every 25th
// source is an incomplete checkpoint.
//
// With sessionPerSnapshot each snapshot is written in a session of its own, as movers do: that leaves
// about one index blob for each, where a single session leaves one for all.
func SeedManySnapshots(ctx context.Context, dir, password string, sources, snapshotsPerSource int, sessionPerSnapshot bool) error {
	return inNewRepository(ctx, dir, password, func(ctx context.Context, repository repo.Repository) error {
		trees, err := writeTrees(ctx, repository)
		if err != nil {
			return err
		}
		total := sources * snapshotsPerSource
		save := func(from, to int) error {
			return repo.WriteSession(ctx, repository, repo.WriteSessionOptions{Purpose: "seed"}, func(ctx context.Context, w repo.RepositoryWriter) error {
				for n := from; n < to; n++ {
					if _, err := snapshot.SaveSnapshot(ctx, w, manySnapshot(trees, n, sources, snapshotsPerSource)); err != nil {
						return fmt.Errorf("lab: save snapshot %d of %d: %w", n, total, err)
					}
				}
				return nil
			})
		}
		if !sessionPerSnapshot {
			return save(0, total)
		}
		for n := range total {
			if err := save(n, n+1); err != nil {
				return err
			}
		}
		return nil
	})
}

// ManySource is the identity of a source of SeedManySnapshots.
func ManySource(number int) recovery.KopiaSource {
	return recovery.KopiaSource{
		Username: fmt.Sprintf("volume-%04d-backup", number), Hostname: fmt.Sprintf("team-%02d", number%40), Path: "/data",
	}
}

// manySnapshot is snapshot n in order of time: one of each source, then the next hour's.
func manySnapshot(trees []*snapshot.DirEntry, n, sources, perSource int) *snapshot.Manifest {
	number, round := n%sources, n/sources
	start := manyEpoch().Add(time.Duration(round)*time.Hour + time.Duration(number)*time.Second)
	s := KopiaSnapshot{Source: ManySource(number), StartTime: start, EndTime: start.Add(3 * time.Second)}
	if round == perSource-1 && number%25 == 0 {
		s.Incomplete = "checkpoint"
	}
	manifest := manifestOf(s, trees[(number+round)%len(trees)])
	return &manifest
}

// writeTrees writes the folders that the snapshots share.
func writeTrees(ctx context.Context, repository repo.Repository) ([]*snapshot.DirEntry, error) {
	trees := make([]*snapshot.DirEntry, 0, manyTrees)
	err := repo.WriteSession(ctx, repository, repo.WriteSessionOptions{Purpose: "seed"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		for i := range manyTrees {
			tree := KopiaSnapshot{
				Source: recovery.KopiaSource{Username: fmt.Sprintf("tree-%d", i), Hostname: "lab", Path: "/data"}, StartTime: manyEpoch(),
				SizeBytes: int64(4096 + 512*i), Files: 1 + i%5,
			}
			root, err := writeVolume(ctx, w, tree, 0)
			if err != nil {
				return fmt.Errorf("lab: write %s: %w", tree.Source, err)
			}
			trees = append(trees, root)
		}
		return nil
	})
	return trees, err
}
