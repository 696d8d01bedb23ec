package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/drctl/drctl/internal/lab/crds"
)

// seeder puts the platform into a cluster whose definitions and webhooks are there already.
type seeder struct {
	Platform
	apply *Applier
}

// SeedPlatform puts the platform into the cluster: first what its GitOps tree at dir says (kustomize
// builds it, as Argo CD would), then what controllers make of it: bound volumes, what Kyverno
// generates for labelled claims, and the status that VolSync and CloudNativePG report. Every object is
// written with fieldValidation=Strict.
func (k *Kubernetes) SeedPlatform(ctx context.Context, p Platform, dir string) error {
	applier, err := k.Applier()
	if err != nil {
		return err
	}
	s := &seeder{Platform: p, apply: applier}
	if err := s.render(ctx, "classes", platformNamespaces()); err != nil {
		return err
	}
	if err := s.seedTree(ctx, dir); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, claim := range PlatformClaims() {
		if claim.InCluster {
			group.Go(func() error { return s.seedClaim(ctx, claim) })
		}
	}
	for _, database := range PlatformDatabases() {
		group.Go(func() error { return s.seedDatabase(ctx, database) })
	}
	return group.Wait()
}

// seedTree applies every kustomization of the tree, its Secrets, and the root Application.
func (s *seeder) seedTree(ctx context.Context, dir string) error {
	objects, err := readTree(dir)
	if err != nil {
		return fmt.Errorf("lab: read the GitOps tree: %w", err)
	}
	return s.applyInOrder(ctx, objects)
}

func readTree(dir string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		var objects []*unstructured.Unstructured
		switch relative, _ := filepath.Rel(dir, path); {
		case entry.Name() == "kustomization.yaml":
			objects, err = buildKustomization(filepath.Dir(path))
		case entry.Name() == "root.yaml", filepath.Dir(filepath.Dir(relative)) == "secrets":
			objects, err = decodeFile(path)
		}
		all = append(all, objects...)
		return err
	})
	return all, err
}

func buildKustomization(dir string) ([]*unstructured.Unstructured, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	content, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	return crds.Decode(content)
}

func decodeFile(path string) ([]*unstructured.Unstructured, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return crds.Decode(content)
}

// render applies one of the templates below platform/generated.
func (s *seeder) render(ctx context.Context, name string, data any) error {
	objects, err := renderObjects(name, data)
	if err != nil {
		return err
	}
	return s.applyInOrder(ctx, objects)
}

func renderObjects(name string, data any) ([]*unstructured.Unstructured, error) {
	content, err := render("platform/generated/"+name+".yaml", data)
	if err != nil {
		return nil, fmt.Errorf("lab: render %s: %w", name, err)
	}
	objects, err := crds.Decode(content)
	if err != nil {
		return nil, fmt.Errorf("lab: render %s: %w", name, err)
	}
	return objects, nil
}

// applyInOrder applies namespaces before what lives in them.
func (s *seeder) applyInOrder(ctx context.Context, objects []*unstructured.Unstructured) error {
	var namespaces, others []*unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			namespaces = append(namespaces, object)
		} else {
			others = append(others, object)
		}
	}
	return errors.Join(s.apply.Apply(ctx, namespaces...), s.apply.Apply(ctx, others...))
}

// reference names an object, for Applier.Get and Applier.Merge.
func reference(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}
