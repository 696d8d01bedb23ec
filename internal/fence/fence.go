package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// part is one of the two objects that a fence consists of.
type part struct {
	gvr  schema.GroupVersionResource
	want *unstructured.Unstructured
}

// parts are in the order in which they are made.
func (s Spec) parts() []part {
	return []part{{policiesResource(), s.policy()}, {bindingsResource(), s.binding()}}
}

// Up puts the fence up, or renews its expiry where it stands already. An object of its name that is not
// the plan's own is recovery.ErrConflict and stays as it is. That it returns does not mean that the fence
// holds yet: API servers notice it within about a second, each in its own time. See Prove.
func Up(ctx context.Context, api *kube.Client, spec Spec) error {
	if err := spec.validate(); err != nil {
		return err
	}
	for _, part := range spec.parts() {
		if err := put(ctx, api, spec, part); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, api *kube.Client, spec Spec, p part) error {
	_, err := api.Create(ctx, p.gvr, p.want, kube.WriteOptions{})
	if !errors.Is(err, recovery.ErrExists) {
		return err
	}
	live, err := api.Get(ctx, p.gvr, "", spec.PolicyName())
	if err != nil {
		return err
	}
	if err := spec.own(live); err != nil {
		return err
	}
	// The resource version makes it the object that was looked at.
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": live.GetResourceVersion(), "annotations": p.want.GetAnnotations()},
		"spec":     p.want.Object["spec"],
	})
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", live.GetKind(), live.GetName(), err)
	}
	_, err = api.PatchMerge(ctx, p.gvr, "", spec.PolicyName(), body, kube.WriteOptions{})
	return err
}

// own says whether a live object is the plan's, as an error.
func (s Spec) own(live *unstructured.Unstructured) error {
	labels := live.GetLabels()
	if labels[managedByKey] == managedByValue && labels[MarkKey] == s.PlanID {
		return nil
	}
	return &recovery.Problem{
		What: fmt.Sprintf("fence %s", s.target()),
		Why:  fmt.Sprintf("there is a %s %s that is not of plan %s", live.GetKind(), live.GetName(), s.PlanID),
		Next: "look who made it, and remove or rename it",
		Err:  recovery.ErrConflict,
	}
}

// validate keeps what could not be quoted safely out of the CEL expressions and names.
func (s Spec) validate() error {
	why := ""
	switch {
	case len(validation.IsDNS1123Label(s.PlanID)) > 0 || len(s.PlanID) > 40:
		why = fmt.Sprintf("the plan's ID %q is not a DNS label of at most 40 characters", s.PlanID)
	case s.Expires.IsZero():
		why = "it would never expire"
	case s.onPods():
		why = s.misfitPods()
	case s.Namespace == "" || s.Name == "" || s.GVR.Resource == "":
		why = "it names no object in a namespace"
	case s.ExemptJob != "":
		why = "it exempts Pods and is not on Pods"
	}
	if why == "" {
		return nil
	}
	return &recovery.Problem{What: "fence " + s.target(), Why: why, Next: "report it as a fault of drctl", Err: recovery.ErrUsage}
}

// misfitPods says what is wrong with a fence on Pods, and nothing when it is right.
func (s Spec) misfitPods() string {
	switch {
	case s.Namespace == "" || len(validation.IsDNS1123Subdomain(s.MountsClaim)) > 0:
		return "it names no claim in a namespace"
	case s.Name != "" || s.Kind != "" || !s.GVR.Empty():
		return "it names both a claim and an object: they are two fences"
	case s.ExemptJob != "" && len(validation.IsDNS1123Subdomain(s.ExemptJob)) > 0:
		return fmt.Sprintf("the exempt Job %q has no name that a Job can have", s.ExemptJob)
	default:
		return ""
	}
}

// Standing says whether both parts of the fence are there and its expiry is still to come. It does not
// say that every API server has noticed: see Prove.
func Standing(ctx context.Context, api *kube.Client, spec Spec) (bool, error) {
	for _, part := range spec.parts() {
		live, err := api.Get(ctx, part.gvr, "", spec.PolicyName())
		if errors.Is(err, recovery.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if err := spec.own(live); err != nil {
			return false, err
		}
		if !expiryOf(live).After(time.Now()) {
			return false, nil
		}
	}
	return true, nil
}

// Down takes this fence down, and none else of the plan; it is no error when there is none. API servers go
// on refusing for about a second, each in its own time.
func Down(ctx context.Context, api *kube.Client, spec Spec) error {
	if err := spec.validate(); err != nil {
		return err
	}
	// The binding first: a policy without one denies nothing, and the other way round leaves an error.
	for _, gvr := range []schema.GroupVersionResource{bindingsResource(), policiesResource()} {
		items, err := api.ListWhere(ctx, gvr, "", spec.selector())
		if err != nil {
			return err
		}
		for i := range items {
			if items[i].GetName() != spec.PolicyName() {
				continue
			}
			err := api.Delete(ctx, gvr, "", items[i].GetName(), kube.Preconditions{UID: string(items[i].GetUID())}, metav1.DeletePropagationBackground)
			if err != nil && !errors.Is(err, recovery.ErrNotFound) {
				return err
			}
		}
	}
	return nil
}
