package kopia

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/kopia/kopia/repo/blob"
)

// The layout of a repository in folders.
// Source: kopia repo/blob/sharded/sharded_parameters.go.
const (
	shardsFile = ".shards"
	blobSuffix = ".f"
	// unshardedLength is the longest blob ID that stays in the root folder where .shards is missing.
	unshardedLength = 20
	// maxShardsBytes is far above any real .shards file.
	maxShardsBytes = 1 << 20
)

// shardLayout says in which subfolder of the repository a blob is.
type shardLayout struct {
	Default         []int           `json:"default"`
	UnshardedLength int             `json:"maxNonShardedLength"`
	Overrides       []shardOverride `json:"overrides"`
}

type shardOverride struct {
	Prefix string `json:"prefix"`
	Shards []int  `json:"shards"`
}

// legacyLayout is that of a repository without a .shards file: it was made before Kopia wrote one.
func legacyLayout() shardLayout {
	return shardLayout{Default: []int{3, 3}, UnshardedLength: unshardedLength}
}

// parseShards reads a .shards file.
func parseShards(content []byte) (shardLayout, error) {
	var layout shardLayout
	if err := json.Unmarshal(content, &layout); err != nil {
		return shardLayout{}, fmt.Errorf("parse %s: %w", shardsFile, err)
	}
	if err := checkShards(layout.Default); err != nil {
		return shardLayout{}, err
	}
	for _, o := range layout.Overrides {
		if err := checkShards(o.Shards); err != nil {
			return shardLayout{}, err
		}
	}
	return layout, nil
}

func checkShards(shards []int) error {
	for _, size := range shards {
		if size < 1 {
			return fmt.Errorf("parse %s: a shard of %d characters", shardsFile, size)
		}
	}
	return nil
}

// file gives the slash-separated name of a blob's file below the repository's folder.
func (l shardLayout) file(id blob.ID) string {
	name := string(id)
	if len(name) <= l.UnshardedLength {
		return name + blobSuffix
	}
	var folders []string
	for _, size := range l.shardsOf(name) {
		if len(name) <= size {
			break
		}
		folders = append(folders, name[:size])
		name = name[size:]
	}
	return path.Join(path.Join(folders...), name+blobSuffix)
}

func (l shardLayout) shardsOf(name string) []int {
	for _, o := range l.Overrides {
		if strings.HasPrefix(name, o.Prefix) {
			return o.Shards
		}
	}
	return l.Default
}
