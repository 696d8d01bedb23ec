package helm

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// comparisons is how often an object is compared that somebody changes meanwhile.
	comparisons = 4
	// fieldsShown is how many fields of an object are named.
	fieldsShown = 3
)

// compare says how the live object differs from what an apply would make of it, empty when it does not.
func (c *Client) compare(ctx context.Context, target Target, wanted candidate) (string, error) {
	resource, err := c.place(wanted.Unstructured, target.Namespace)
	if meta.IsNoMatchError(err) {
		return describe(wanted.Unstructured) + ": the cluster does not know its kind yet", nil
	}
	what := "compare " + describe(wanted.Unstructured)
	if err != nil {
		return "", explain(ctx, what, err)
	}
	object := wanted.DeepCopy()
	if !wanted.definition {
		own(object, target)
	}
	for range comparisons {
		live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return describe(object) + ": is missing", nil
		}
		if err != nil {
			return "", explain(ctx, what, err)
		}
		if wanted.random {
			return "", nil
		}
		applied, err := resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true, DryRun: []string{metav1.DryRunAll}})
		switch {
		case apierrors.IsInvalid(err):
			// The text may quote values.
			return describe(object) + ": the API server refuses to change it", nil
		case err != nil:
			return "", explain(ctx, what, err)
		}
		fields := differing("", bare(live), bare(applied))
		if len(fields) == 0 {
			return "", nil
		}
		// Somebody may have written between the two requests; then what differs is theirs.
		if live.GetResourceVersion() == applied.GetResourceVersion() {
			return describe(object) + ": differs in " + shorten(fields), nil
		}
	}
	return describe(object) + ": is being changed all the time", nil
}

// bare is an object without what the server keeps about it.
func bare(object *unstructured.Unstructured) map[string]any {
	copied := object.DeepCopy()
	for _, field := range [][]string{
		{"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "creationTimestamp"}, {"metadata", "uid"}, {"status"},
	} {
		unstructured.RemoveNestedField(copied.Object, field...)
	}
	return copied.Object
}

// differing are the paths of the fields in which two values differ, sorted, without the values: they may be a Secret's.
func differing(path string, a, b any) []string {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	left, leftMap := a.(map[string]any)
	right, rightMap := b.(map[string]any)
	if leftMap && rightMap {
		var paths []string
		for _, key := range keys(left, right) {
			paths = append(paths, differing(strings.TrimPrefix(path+"."+key, "."), left[key], right[key])...)
		}
		return paths
	}
	leftList, isList := a.([]any)
	rightList, alsoList := b.([]any)
	if isList && alsoList && len(leftList) == len(rightList) {
		var paths []string
		for i := range leftList {
			paths = append(paths, differing(fmt.Sprintf("%s[%d]", path, i), leftList[i], rightList[i])...)
		}
		return paths
	}
	return []string{path}
}

func keys(maps ...map[string]any) []string {
	var all []string
	for _, each := range maps {
		for key := range each {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func shorten(fields []string) string {
	if len(fields) <= fieldsShown {
		return strings.Join(fields, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(fields[:fieldsShown], ", "), len(fields)-fieldsShown)
}
