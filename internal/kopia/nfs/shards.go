package nfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"

	"github.com/drctl/drctl/internal/recovery"
)

// path gives the place of a blob's file. The folder decides how names are cut into folders.
func (s *storage) path(ctx context.Context, id blob.ID) (string, error) {
	layout, err := s.shards(ctx)
	if err != nil {
		return "", err
	}
	folder, name := layout.GetShardDirectoryAndBlob("/", id)
	return path.Join(folder, string(name)+sharded.CompleteBlobSuffix), nil
}

// shards reads the file .shards, once it could be read.
func (s *storage) shards(ctx context.Context) (*sharded.Parameters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.layout != nil {
		return s.layout, nil
	}
	const file = "/" + sharded.ParametersFile
	parts, err := s.readFile(ctx, file, 0, -1)
	switch {
	case isNotFound(err):
		// Source: kopia repo/blob/sharded, New for a repository that exists already.
		s.layout = sharded.DefaultParameters([]int{3, 3})
		return s.layout, nil
	case err != nil:
		return nil, s.explain(ctx, "read", file, err)
	}
	layout, err := parseShards(bytes.Join(parts, nil))
	if err != nil {
		return nil, &recovery.Problem{
			What: fmt.Sprintf("read %s of %s", file, s.options), Why: err.Error(),
			Next: "restore that file of the repository, or remove it if the repository was made by Kopia 0.8 or older", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	s.layout = layout
	return layout, nil
}

// parseShards reads the content of .shards. Kopia cuts names with whatever numbers stand there, and
// panics on negative ones.
func parseShards(content []byte) (*sharded.Parameters, error) {
	layout := new(sharded.Parameters)
	if err := layout.Load(bytes.NewReader(content)); err != nil {
		return nil, err
	}
	sizes := append([]int(nil), layout.DefaultShards...)
	for _, override := range layout.Overrides {
		sizes = append(sizes, override.Shards...)
	}
	for _, size := range sizes {
		if size < 0 {
			return nil, fmt.Errorf("a shard of %d characters", size)
		}
	}
	return layout, nil
}
