package app

import (
	"context"
	"errors"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/pvc/restore"
)

// restoreFence holds back a claim's creation and the Pods that mount it, by a fence of each.
type restoreFence struct {
	client *kube.Client
	prover *fence.Prover
}

// specs are the fences of a hold.
func (restoreFence) specs(h restore.Hold) []fence.Spec {
	var specs []fence.Spec
	if h.Manifest != nil {
		specs = append(specs, fence.Spec{
			PlanID: h.PlanID, Expires: h.Expires, Namespace: h.Namespace, GVR: claimsResource(), Kind: "PersistentVolumeClaim", Name: h.Claim,
		})
	}
	if h.Pods {
		specs = append(specs, fence.Spec{PlanID: h.PlanID, Expires: h.Expires, Namespace: h.Namespace, MountsClaim: h.Claim, ExemptJob: h.ExemptJob})
	}
	return specs
}

// Up builds the fences, or moves their end.
func (f restoreFence) Up(ctx context.Context, h restore.Hold) error {
	for _, spec := range f.specs(h) {
		if err := fence.Up(ctx, f.client, spec); err != nil {
			return err
		}
	}
	return nil
}

// Prove returns once all of them have held for five seconds running; those of many plans are proven
// together.
func (f restoreFence) Prove(ctx context.Context, h restore.Hold) error {
	var claim *unstructured.Unstructured
	if h.Manifest != nil {
		object, err := decodeManifest(h.Manifest)
		if err != nil {
			return err
		}
		claim = object
	}
	specs := f.specs(h)
	failures := make([]error, len(specs))
	var proofs sync.WaitGroup
	for i, spec := range specs {
		sample := claim
		if spec.MountsClaim != "" {
			sample = nil // a Pod of the fence's own
		}
		proofs.Go(func() { failures[i] = f.prover.Prove(ctx, spec, sample) })
	}
	proofs.Wait()
	return errors.Join(failures...)
}

// Standing reports whether all of them are there.
func (f restoreFence) Standing(ctx context.Context, h restore.Hold) (bool, error) {
	for _, spec := range f.specs(h) {
		standing, err := fence.Standing(ctx, f.client, spec)
		if err != nil || !standing {
			return false, err
		}
	}
	return true, nil
}

// Left reports whether any part of the plan's fences is there.
func (f restoreFence) Left(ctx context.Context, planID string) (bool, error) {
	return fence.Left(ctx, f.client, planID)
}

// Down takes them away, the one on Pods first.
func (f restoreFence) Down(ctx context.Context, h restore.Hold) error {
	specs := f.specs(h)
	slices.Reverse(specs)
	for _, spec := range specs {
		if err := fence.Down(ctx, f.client, spec); err != nil {
			return err
		}
	}
	return nil
}
