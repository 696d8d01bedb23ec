package restoreworld

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
)

// AddApplication puts one more application under Git and Argo CD: like that of the world, in a namespace of its
// own that has its name, with a claim called Claim. It gives the hash of what the claim holds; a snapshot of it
// is in the repository.
func (w *World) AddApplication(ctx context.Context, name string) (hash string, err error) {
	if err := w.AddNamespace(ctx, name); err != nil {
		return "", err
	}
	path := filepath.Join("my-apps", "media", name)
	head, err := w.Remote.Commit(ctx, "Add "+name, func(dir string) error { return writeLike(dir, path, name) })
	if err != nil {
		return "", err
	}
	if err := w.Argo.Track(ctx, name, path, ""); err != nil {
		return "", err
	}
	_, err = w.Argo.WaitFor(ctx, name, func(s lab.ArgoState) bool { return s.Sync == "Synced" && s.Revision == head && s.Health == "Healthy" })
	if err != nil {
		return "", err
	}
	w.seeds++
	if hash, err = w.FillClaim(ctx, name, Claim, w.seeds); err != nil {
		return "", err
	}
	_, err = w.Backup(ctx, name, Claim)
	return hash, err
}

// writeLike writes the manifests of the world's application under another name.
func writeLike(tree, path, name string) error {
	folder := filepath.Join(tree, path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("restoreworld: %w", err)
	}
	rename := strings.NewReplacer("CLASS", lab.RestoreClass, Namespace, name)
	for file, content := range map[string]string{
		"kustomization.yaml": "resources: [pvc.yaml, deployment.yaml]\n", "pvc.yaml": claimManifest, "deployment.yaml": deploymentManifest,
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(rename.Replace(content)), 0o600); err != nil {
			return fmt.Errorf("restoreworld: %w", err)
		}
	}
	return nil
}

// Spoil is what an incident did to a claim: some files are gone, some differ, some are new.
func (w *World) Spoil(ctx context.Context, namespace string) error {
	if err := w.EmptyClaim(ctx, namespace, Claim); err != nil {
		return err
	}
	w.seeds++
	_, err := w.FillClaim(ctx, namespace, Claim, w.seeds)
	return err
}

// RemoveApplication takes an application that was added away again, with its namespace.
func (w *World) RemoveApplication(ctx context.Context, name string) error {
	applications := schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	if err := w.dynamic.Resource(applications).Namespace(lab.ArgoNamespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("restoreworld: remove Application %s: %w", name, err)
	}
	if err := w.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("restoreworld: remove namespace %s: %w", name, err)
	}
	return nil
}
