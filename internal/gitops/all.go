package gitops

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// All gives every object of the tree, in the order in which they are built; two under one name both. Each
// carries recovery.DirectoryAnnotation.
func (t *Tree) All() []unstructured.Unstructured {
	objects := make([]unstructured.Unstructured, 0, len(t.entries))
	for i := range t.entries {
		objects = append(objects, *t.entries[i].object.DeepCopy())
	}
	return objects
}
