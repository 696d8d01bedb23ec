package gitops

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/drctl/drctl/internal/recovery"
)

// buildPlan is what to build and what to read as it stands.
type buildPlan struct {
	roots    []*kustomization
	rawFiles []string
	charts   []string
	gaps     recovery.Gaps
}

// planBuilds decides which kustomizations to build: those that no other one refers to, components
// excepted. YAML files are read as they stand where no kustomization is in their folder and none refers
// to them; beside a kustomization, a file that it does not name is not deployed.
func planBuilds(l *loader, found scanned) buildPlan {
	var plan buildPlan
	referenced := map[string]bool{}
	hasKustomization := map[string]bool{}
	for _, folder := range found.kustomizations {
		k := l.load(folder)
		hasKustomization[folder] = true
		for _, path := range append(k.resources, k.inputs...) {
			referenced[path] = true
		}
	}
	reached := map[string]bool{}
	take := func(k *kustomization) {
		plan.roots = append(plan.roots, k)
		l.reach(k, reached)
	}
	for _, folder := range found.kustomizations {
		if k := l.load(folder); !k.component && !referenced[folder] {
			take(k)
		}
	}
	// What refers to itself in a circle has no root; it is tried all the same, so that it is not lost.
	for _, folder := range found.kustomizations {
		if k := l.load(folder); !k.component && !reached[folder] {
			take(k)
		}
	}
	plan.describe(l, reached)
	for _, file := range found.manifests {
		if !hasKustomization[filepath.Dir(file)] && !referenced[file] {
			plan.rawFiles = append(plan.rawFiles, file)
		}
	}
	return plan
}

// describe collects what is to be said of all kustomizations that take part, those below the roots and
// outside the tree included.
func (p *buildPlan) describe(l *loader, reached map[string]bool) {
	for _, folder := range slices.Sorted(maps.Keys(reached)) {
		k := l.load(folder)
		p.gaps = append(p.gaps, k.gaps...)
		if k.unreadable != nil && !slices.Contains(p.roots, k) {
			p.gaps = append(p.gaps, k.unreadable)
		}
		if k.charts {
			p.charts = append(p.charts, relative(l.root, folder))
		}
	}
}

// reach marks a kustomization and all below it.
func (l *loader) reach(k *kustomization, reached map[string]bool) {
	if k == nil || reached[k.folder] {
		return
	}
	reached[k.folder] = true
	for _, path := range k.resources {
		if !isYAML(path) {
			l.reach(l.load(path), reached)
		}
	}
}
