package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// FieldManager owns the fields that drctl writes.
const FieldManager = "drctl"

// WriteOptions are common to all writes. Fields that the server does not know are always refused.
type WriteOptions struct {
	// DryRun asks for the whole of admission, and for nothing to be stored.
	DryRun bool
	// FieldManager owns what is written; empty means FieldManager.
	FieldManager string
	// Force takes fields from other owners; it means something for Apply only.
	Force bool
}

func (o WriteOptions) manager() string {
	if o.FieldManager == "" {
		return FieldManager
	}
	return o.FieldManager
}

func (o WriteOptions) dryRun() []string {
	if o.DryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// Create creates one object by POST and returns it as it was stored. One of that name is
// recovery.ErrExists, a refusal by schema or admission recovery.ErrInvalid, a missing right
// recovery.ErrDenied. After recovery.ErrUnreachable it may exist all the same.
func (c *Client) Create(ctx context.Context, gvr schema.GroupVersionResource, object *unstructured.Unstructured, o WriteOptions) (*unstructured.Unstructured, error) {
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	created, err := c.resource(gvr, object.GetNamespace()).Create(requestCtx, object, metav1.CreateOptions{
		DryRun: o.dryRun(), FieldManager: o.manager(), FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		name := object.GetName()
		if name == "" {
			name = object.GetGenerateName() + "…"
		}
		return nil, c.explainObject(ctx, "create "+describe(gvr, object.GetNamespace(), name), gvr, err)
	}
	return created, nil
}

// PatchJSON applies a JSON patch (RFC 6902). A patch that does not fit the live object, a failed "test"
// above all, is recovery.ErrConflict.
func (c *Client) PatchJSON(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte, o WriteOptions, subresource ...string) (*unstructured.Unstructured, error) {
	return c.patch(ctx, gvr, namespace, name, types.JSONPatchType, body, o, subresource)
}

// PatchMerge applies a JSON merge patch (RFC 7386). A metadata.resourceVersion or metadata.uid in it is a
// precondition: recovery.ErrConflict when the live object has another.
func (c *Client) PatchMerge(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, body []byte, o WriteOptions, subresource ...string) (*unstructured.Unstructured, error) {
	return c.patch(ctx, gvr, namespace, name, types.MergePatchType, body, o, subresource)
}

// Apply applies an object server-side: created when it is absent. Without Force a field that another
// manager owns with another value is recovery.ErrConflict.
func (c *Client) Apply(ctx context.Context, gvr schema.GroupVersionResource, object *unstructured.Unstructured, o WriteOptions) (*unstructured.Unstructured, error) {
	body, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", describe(gvr, object.GetNamespace(), object.GetName()), err)
	}
	return c.patch(ctx, gvr, object.GetNamespace(), object.GetName(), types.ApplyPatchType, body, o, nil)
}

func (c *Client) patch(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, kind types.PatchType, body []byte, o WriteOptions, subresource []string) (*unstructured.Unstructured, error) {
	options := metav1.PatchOptions{DryRun: o.dryRun(), FieldManager: o.manager(), FieldValidation: metav1.FieldValidationStrict}
	verb := "patch "
	if kind == types.ApplyPatchType {
		options.Force = &o.Force // the server refuses the option with every other kind of patch
		verb = "apply "
	}
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	patched, err := c.resource(gvr, namespace).Patch(requestCtx, name, kind, body, options, subresource...)
	switch {
	case err == nil:
		return patched, nil
	case kind == types.JSONPatchType && isPatchMisfit(err):
		return nil, c.misfit(ctx, verb+describe(gvr, namespace, name), err)
	default:
		return nil, c.explainObject(ctx, verb+describe(gvr, namespace, name), gvr, err)
	}
}

// Preconditions bind a delete to one object in one state; an empty field binds to nothing.
type Preconditions struct{ UID, ResourceVersion string }

// Delete asks for a deletion; that it is accepted does not mean that the object is gone. An absent object
// is recovery.ErrNotFound; one that does not meet the preconditions, the replacement of the one that was
// meant above all, is recovery.ErrConflict.
func (c *Client) Delete(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string, p Preconditions, propagation metav1.DeletionPropagation) error {
	options := metav1.DeleteOptions{PropagationPolicy: &propagation}
	if p != (Preconditions{}) {
		options.Preconditions = &metav1.Preconditions{}
		if p.UID != "" {
			uid := types.UID(p.UID)
			options.Preconditions.UID = &uid
		}
		if p.ResourceVersion != "" {
			options.Preconditions.ResourceVersion = &p.ResourceVersion
		}
	}
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := c.resource(gvr, namespace).Delete(requestCtx, name, options); err != nil {
		return c.explainObject(ctx, "delete "+describe(gvr, namespace, name), gvr, err)
	}
	return nil
}
