package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/snapshot"

	"github.com/drctl/drctl/internal/lab"
)

// kopiaRepository is a repository made by the real Kopia, in a folder.
type kopiaRepository struct {
	*lab.Kopia
	dir string
	// connections counts connectLibrary, so that each has names and caches of its own.
	connections int
}

// newKopiaRepository makes an empty repository. The function that it gives ends the lab.
func newKopiaRepository(ctx context.Context, env Env) (*kopiaRepository, func(), error) {
	stack := lab.NewStack(filepath.Join(env.Dir, "lab"), env.Logf)
	closeLab := func() {
		if err := stack.Close(); err != nil {
			env.Logf("close the lab: %v", err)
		}
	}
	k, err := stack.Kopia(ctx)
	if err != nil {
		closeLab()
		return nil, nil, err
	}
	r := &kopiaRepository{Kopia: k, dir: filepath.Join(env.Dir, "repository")}
	if err := k.CreateRepository(ctx, r.dir); err != nil {
		closeLab()
		return nil, nil, err
	}
	return r, closeLab, nil
}

// fill writes each snapshots of sources sources, perSession in one write session: a session adds one
// index blob. All are copies of one real snapshot, under VolSync-shaped sources.
func (r *kopiaRepository) fill(ctx context.Context, sources, each, perSession int) (err error) {
	template, err := r.template(ctx)
	if err != nil {
		return err
	}
	opened, err := repo.Open(ctx, filepath.Join(r.Home, "repository.config"), r.Password, nil)
	if err != nil {
		return fmt.Errorf("bench: open the repository for writing: %w", err)
	}
	defer func() { err = errors.Join(err, opened.Close(ctx)) }()
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for from := 0; from < sources*each; from += perSession {
		err := repo.WriteSession(ctx, opened, repo.WriteSessionOptions{Purpose: "bench"}, func(ctx context.Context, w repo.RepositoryWriter) error {
			for i := from; i < from+perSession; i++ {
				m := template
				m.Source = snapshot.SourceInfo{Host: fmt.Sprintf("namespace-%03d", i%sources), UserName: fmt.Sprintf("data-%03d-backup", i%sources), Path: "/data"}
				m.StartTime = fs.UTCTimestampFromTime(start.Add(time.Duration(i/sources)*time.Hour + time.Duration(i)*time.Microsecond))
				m.EndTime = m.StartTime.Add(time.Minute)
				if _, err := snapshot.SaveSnapshot(ctx, w, &m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("bench: write snapshots: %w", err)
		}
	}
	return nil
}

// template makes one real snapshot, and takes its manifest out of the repository.
func (r *kopiaRepository) template(ctx context.Context) (snapshot.Manifest, error) {
	dir := filepath.Join(r.Home, "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return snapshot.Manifest{}, fmt.Errorf("bench: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("what a volume holds"), 0o600); err != nil {
		return snapshot.Manifest{}, fmt.Errorf("bench: %w", err)
	}
	if err := r.Snapshot(ctx, "template@bench:/data", dir); err != nil {
		return snapshot.Manifest{}, err
	}
	out, err := r.Run(ctx, "snapshot", "list", "--all", "--json")
	if err != nil {
		return snapshot.Manifest{}, err
	}
	var made []snapshot.Manifest
	if err := json.Unmarshal(out, &made); err != nil || len(made) != 1 {
		return snapshot.Manifest{}, fmt.Errorf("bench: %d snapshots after the first: %w", len(made), err)
	}
	_, err = r.Run(ctx, "snapshot", "delete", "--delete", string(made[0].ID))
	made[0].ID = ""
	return made[0], err
}
