package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"

	"github.com/drctl/drctl/internal/recovery"
)

// KopiaSnapshot is one snapshot to be made, of real files.
type KopiaSnapshot struct {
	Source recovery.KopiaSource
	// StartTime and EndTime may lie in the past.
	StartTime time.Time
	EndTime   time.Time
	SizeBytes int64
	Files     int
	// Incomplete is Kopia's reason ("checkpoint"), empty for a complete snapshot.
	Incomplete string
	// Pins keep it from expiring.
	Pins []string
}

// SeedKopia makes a filesystem repository in dir whose snapshots are those of the claims, taken at
// their age before now. It speaks Kopia's library, so no program is needed.
func SeedKopia(ctx context.Context, dir, password string, now time.Time, claims []PlatformClaim) error {
	var snapshots []KopiaSnapshot
	for _, claim := range claims {
		if !claim.SharesIdentity {
			snapshots = append(snapshots, claimSnapshots(claim, now)...)
		}
	}
	return SeedSnapshots(ctx, dir, password, snapshots)
}

// claimSnapshots takes 7 s for each snapshot; a checkpoint was saved when half of that had passed.
func claimSnapshots(claim PlatformClaim, now time.Time) []KopiaSnapshot {
	snapshots := make([]KopiaSnapshot, 0, len(claim.Snapshots))
	for _, s := range claim.Snapshots {
		start := now.Add(-s.Age).UTC()
		snapshots = append(snapshots, KopiaSnapshot{
			Source: claim.Identity, StartTime: start, EndTime: start.Add(7 * time.Second),
			SizeBytes: s.SizeBytes, Files: s.Files, Incomplete: s.Incomplete,
		})
	}
	return snapshots
}

// SeedSnapshots makes a filesystem repository in dir that holds the snapshots. Each has real files, of
// the wanted number and size together; from one snapshot of a source to the next, one file in three
// changes.
func SeedSnapshots(ctx context.Context, dir, password string, snapshots []KopiaSnapshot) error {
	ordered := slices.Clone(snapshots)
	slices.SortStableFunc(ordered, func(a, b KopiaSnapshot) int { return a.StartTime.Compare(b.StartTime) })
	return inNewRepository(ctx, dir, password, func(ctx context.Context, repository repo.Repository) error {
		return repo.WriteSession(ctx, repository, repo.WriteSessionOptions{Purpose: "seed"}, func(ctx context.Context, w repo.RepositoryWriter) error {
			generation := map[recovery.KopiaSource]int{}
			for _, s := range ordered {
				if err := seedSnapshot(ctx, w, s, generation[s.Source]); err != nil {
					return fmt.Errorf("lab: seed a snapshot of %s: %w", s.Source, err)
				}
				generation[s.Source]++
			}
			return nil
		})
	})
}

func seedSnapshot(ctx context.Context, w repo.RepositoryWriter, s KopiaSnapshot, generation int) error {
	root, err := writeVolume(ctx, w, s, generation)
	if err != nil {
		return err
	}
	manifest := manifestOf(s, root)
	_, err = snapshot.SaveSnapshot(ctx, w, &manifest)
	return err
}

// manifestOf is what the uploader of Kopia writes about a snapshot.
func manifestOf(s KopiaSnapshot, root *snapshot.DirEntry) snapshot.Manifest {
	return snapshot.Manifest{
		Source:    snapshot.SourceInfo{Host: s.Source.Hostname, UserName: s.Source.Username, Path: s.Source.Path},
		StartTime: fs.UTCTimestampFromTime(s.StartTime), EndTime: fs.UTCTimestampFromTime(s.EndTime),
		Stats: snapshot.Stats{
			TotalFileSize: root.DirSummary.TotalFileSize, TotalFileCount: int32(root.DirSummary.TotalFileCount),
			NonCachedFiles: int32(root.DirSummary.TotalFileCount), TotalDirectoryCount: int32(root.DirSummary.TotalDirCount),
		},
		IncompleteReason: s.Incomplete, RootEntry: root, Pins: slices.Clone(s.Pins),
	}
}
