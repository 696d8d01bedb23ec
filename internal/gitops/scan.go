package gitops

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/drctl/drctl/internal/recovery"
)

// maxManifestBytes is the size above which a file is not taken for a manifest. CRD bundles reach 2 MB.
const maxManifestBytes = 8 << 20

// scanned is what a walk over the tree found; paths are absolute.
type scanned struct {
	// kustomizations are the folders with a kustomization file, in lexical order.
	kustomizations []string
	// manifests are the YAML files, in lexical order, kustomization files excluded.
	manifests []string
	// charts are the folders of Helm charts, relative to the tree.
	charts []string
	// sealed are the files whose objects SOPS encrypted as a whole, relative to the tree.
	sealed []string
	gaps   recovery.Gaps
}

// scan walks the tree. Symbolic links are not followed, so loops do no harm: what they lead to inside
// the tree is found anyway.
func scan(ctx context.Context, root string) (scanned, error) {
	var found scanned
	err := filepath.WalkDir(root, func(path string, item fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			found.gaps.Add("", &recovery.Problem{
				What: "read " + relative(root, path), Why: "the file system refuses it",
				Next: "check the permissions of the checkout", Err: errors.Join(recovery.ErrDenied, err),
			})
			if item != nil && item.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return found.visit(root, path, item)
	})
	return found, err
}

// visit sorts one file or folder.
func (s *scanned) visit(root, path string, item fs.DirEntry) error {
	switch {
	case item.IsDir():
		return s.visitFolder(root, path, item.Name())
	case !item.Type().IsRegular():
		return nil
	case slices.Contains(konfig.RecognizedKustomizationFileNames(), item.Name()) && isKustomizationFile(path):
		if folder := filepath.Dir(path); !slices.Contains(s.kustomizations, folder) {
			s.kustomizations = append(s.kustomizations, folder)
		}
	case isYAML(item.Name()) && !isHuge(item):
		s.manifests = append(s.manifests, path)
		if isSealed(path) {
			s.sealed = append(s.sealed, relative(root, path))
		}
	}
	return nil
}

// visitFolder passes over Git's own folder and the templates of Helm charts, which are no YAML.
func (s *scanned) visitFolder(root, path, name string) error {
	if name == ".git" && path != root {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "Chart.yaml")); err == nil {
		s.charts = append(s.charts, relative(root, path))
		return nil
	}
	if name == "templates" || name == "charts" {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "Chart.yaml")); err == nil {
			return fs.SkipDir
		}
	}
	return nil
}

// isHuge reports whether a file is too large for a manifest.
func isHuge(item fs.DirEntry) bool {
	info, err := item.Info()
	return err == nil && info.Size() > maxManifestBytes
}

func isYAML(name string) bool {
	extension := filepath.Ext(name)
	return extension == ".yaml" || extension == ".yml"
}
