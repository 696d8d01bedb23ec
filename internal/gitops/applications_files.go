package gitops

import (
	"io/fs"
	"maps"
	slashpath "path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gobwas/glob"

	"github.com/drctl/drctl/internal/recovery"
)

// plainFiles reads the YAML and JSON files of a folder as they stand, those of its folders only when the source says
// so. Source: argo-cd reposerver/repository/repository.go findManifests, getPotentiallyValidManifests.
func (r *reader) plainFiles(folder string, source *applicationSource) ([]entry, recovery.Gaps) {
	var entries []entry
	var gaps recovery.Gaps
	for _, file := range r.tree.manifests {
		inside := filepath.Dir(file) == folder || source.Directory.Recurse && strings.HasPrefix(file, folder+string(filepath.Separator))
		if !inside || !chosen(relative(folder, file), source.Directory.Include, source.Directory.Exclude) {
			continue
		}
		objects, err := readManifests(r.tree.root, file)
		gaps.Add("", err)
		entries = append(entries, entriesOf(objects, relative(r.tree.root, file), "")...)
	}
	return entries, gaps
}

// chosen applies the globs of a source; one that is no glob chooses nothing.
func chosen(file, include, exclude string) bool {
	matches := func(pattern string) bool {
		compiled, err := glob.Compile(pattern)
		return err == nil && compiled.Match(file)
	}
	return (exclude == "" || !matches(exclude)) && (include == "" || matches(include))
}

// folders are those of the tree that hold a file, relative to it, as Git knows them; hidden ones are left out.
// Source: argo-cd reposerver/repository/repository.go GetGitDirectories.
func (r *reader) folders() []string {
	found := map[string]bool{}
	_ = filepath.WalkDir(r.tree.root, func(path string, item fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // what can't be read was told of when the tree was opened
		case item.IsDir() && path != r.tree.root && strings.HasPrefix(item.Name(), "."):
			return fs.SkipDir
		case item.IsDir():
			return nil
		}
		for folder := relative(r.tree.root, filepath.Dir(path)); folder != "." && !found[folder]; folder = slashpath.Dir(folder) {
			found[folder] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found))
}
