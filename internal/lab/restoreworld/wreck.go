package restoreworld

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab"
)

// Recover makes a world whole again in which a restore without a safeguard was left as it stood: fences fall,
// what drctl made goes, and Argo CD has the application back.
func (w *World) Recover(ctx context.Context) error {
	policies := w.client.AdmissionregistrationV1()
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=drctl"}
	if err := policies.ValidatingAdmissionPolicyBindings().DeleteCollection(ctx, metav1.DeleteOptions{}, ours); err != nil {
		return fmt.Errorf("restoreworld: bindings: %w", err)
	}
	if err := policies.ValidatingAdmissionPolicies().DeleteCollection(ctx, metav1.DeleteOptions{}, ours); err != nil {
		return fmt.Errorf("restoreworld: policies: %w", err)
	}
	for _, kind := range leftKinds() {
		if err := w.dynamic.Resource(kind).Namespace(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, ours); err != nil {
			return fmt.Errorf("restoreworld: %s: %w", kind.Resource, err)
		}
	}
	if err := w.client.CoordinationV1().Leases(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, ours); err != nil {
		return fmt.Errorf("restoreworld: Leases: %w", err)
	}
	// What gave up tries again only at another commit, or when it is asked.
	if err := w.resync(ctx); err != nil {
		return err
	}
	return w.Settled(ctx)
}

// resync asks Argo CD for the branch's head.
func (w *World) resync(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		state, err := w.Argo.State(ctx, Application)
		if err != nil {
			return err
		}
		if state.Sync == "Synced" && state.Health == "Healthy" {
			return nil
		}
		head, err := w.Remote.Head(ctx)
		if err != nil {
			return err
		}
		app := w.dynamic.Resource(applications()).Namespace(lab.ArgoNamespace)
		live, err := app.Get(ctx, Application, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("restoreworld: Application: %w", err)
		}
		if _, busy := live.Object["operation"]; !busy {
			operation := map[string]any{"initiatedBy": map[string]any{"username": "lab"}, "sync": map[string]any{"revision": head}}
			if err := unstructured.SetNestedMap(live.Object, operation, "operation"); err != nil {
				return fmt.Errorf("restoreworld: Application: %w", err)
			}
			// A conflict is tried again with the next look.
			_, _ = app.Update(ctx, live, metav1.UpdateOptions{})
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("restoreworld: the Application does not come to rest: %s", state)
		}
	}
}
