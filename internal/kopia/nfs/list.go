package nfs

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/willscott/go-nfs-client/nfs"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/recovery"
)

// folder is a shard: its path, and the beginning that all blobs in it share.
type folder struct{ path, prefix string }

// ListBlobs lists level by level, all folders of a level in parallel: a repository with two levels of
// shards takes three waves of about one READDIRPLUS a folder. Only folders that can hold the prefix
// are read. Symbolic links are not followed.
func (s *storage) ListBlobs(ctx context.Context, prefix blob.ID, callback func(blob.Metadata) error) error {
	for wave := []folder{{path: "/"}}; len(wave) > 0; {
		listed, err := s.listWave(ctx, wave)
		if err != nil {
			return err
		}
		var next []folder
		for i, entries := range listed {
			if err := report(entries, wave[i].prefix, prefix, callback); err != nil {
				return err
			}
			next = append(next, wave[i].below(entries, prefix)...)
		}
		wave = next
	}
	return nil
}

func (s *storage) listWave(ctx context.Context, wave []folder) ([][]entry, error) {
	listed := make([][]entry, len(wave))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(4 * s.options.Connections)
	for i, f := range wave {
		if groupCtx.Err() != nil {
			break // one of them failed
		}
		group.Go(func() error {
			var err error
			if listed[i], err = s.tree.list(groupCtx, f.path); err != nil {
				return s.listProblem(ctx, f, err)
			}
			return nil
		})
	}
	return listed, group.Wait()
}

// listProblem takes the caller's ctx: that a sibling failed first is not a folder's own reason.
func (s *storage) listProblem(ctx context.Context, f folder, err error) error {
	what := "list " + s.options.String() + strings.TrimSuffix(f.path, "/")
	if isNotFound(err) {
		return &recovery.Problem{
			What: what, Why: "the folder was removed during the listing", Next: "run the command again",
			Err: errors.Join(recovery.ErrUnreachable, err),
		}
	}
	return s.tree.problem(ctx, what, err)
}

// report calls back for each blob of a folder.
func report(entries []entry, begin string, prefix blob.ID, callback func(blob.Metadata) error) error {
	for _, e := range entries {
		name, complete := strings.CutSuffix(begin+e.name, sharded.CompleteBlobSuffix)
		if !complete || e.attributes.Type != nfs.NF3Reg || !strings.HasPrefix(name, string(prefix)) {
			continue
		}
		if err := callback(metadata(blob.ID(name), e.attributes)); err != nil {
			return err
		}
	}
	return nil
}

// below gives the folders of a folder that can hold blobs with the prefix.
func (f folder) below(entries []entry, prefix blob.ID) []folder {
	var folders []folder
	for _, e := range entries {
		if e.attributes.Type != nfs.NF3Dir || (f.path == "/" && isForeign(e.name)) {
			continue
		}
		begin := f.prefix + e.name
		if strings.HasPrefix(begin, string(prefix)) || strings.HasPrefix(string(prefix), begin) {
			folders = append(folders, folder{path.Join(f.path, e.name), begin})
		}
	}
	return folders
}

// isForeign tells folders of the file system and of storage appliances from shards: no blob's name
// begins so. Some hold whole copies of the repository (snapshots), some may not be read.
func isForeign(name string) bool {
	return name == "lost+found" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "@") || strings.HasPrefix(name, "#")
}
