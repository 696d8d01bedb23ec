package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// readRightsFile is the manifest that drctl ships, relative to the module's root.
const readRightsFile = "docs/rbac-read.yaml"

// GrantRead gives a user of the lab exactly what docs/rbac-read.yaml gives: its bindings, with this
// user as the subject, and the Role for S3 keys copied to every namespace with a database, as the file
// asks. It returns once the API server acts on all of it.
func (l *Lab) GrantRead(ctx context.Context, user string) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	shipped, err := decodeFile(filepath.Join(root, filepath.FromSlash(readRightsFile)))
	if err != nil {
		return fmt.Errorf("lab: read %s: %w", readRightsFile, err)
	}
	applier, err := l.Kubernetes.Applier()
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, object := range shipped {
		for _, namespace := range namespacesFor(object) {
			object := object.DeepCopy()
			object.SetNamespace(namespace)
			if _, binding := object.Object["subjects"]; binding {
				object.Object["subjects"] = []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}}
			}
			objects = append(objects, object)
		}
	}
	if err := applier.Apply(ctx, objects...); err != nil {
		return err
	}
	return l.waitGranted(ctx, user)
}

// namespacesFor says where an object of the file belongs: where it stands, or with every database.
func namespacesFor(object *unstructured.Unstructured) []string {
	if object.GetName() != "drctl-read-s3" {
		return []string{object.GetNamespace()}
	}
	var namespaces []string
	for _, database := range PlatformDatabases() {
		namespaces = append(namespaces, database.Namespace)
	}
	return namespaces
}

// waitGranted asks the authorizer, which learns of new bindings a moment after they were written.
func (l *Lab) waitGranted(ctx context.Context, user string) error {
	client, err := kubernetes.NewForConfig(l.Kubernetes.RESTConfig())
	if err != nil {
		return fmt.Errorf("lab: client: %w", err)
	}
	wanted := []authorizationv1.ResourceAttributes{
		{Verb: "list", Resource: "persistentvolumeclaims"},
		{Verb: "get", Resource: "secrets", Namespace: "volsync-system", Name: "kopia-credentials"},
	}
	for _, database := range PlatformDatabases() {
		wanted = append(wanted, authorizationv1.ResourceAttributes{
			Verb: "get", Resource: "secrets", Namespace: database.Namespace, Name: "cnpg-s3-credentials",
		})
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, attributes := range wanted {
		if err := waitAllowed(ctx, client, user, attributes); err != nil {
			return err
		}
	}
	return nil
}

func waitAllowed(ctx context.Context, client kubernetes.Interface, user string, attributes authorizationv1.ResourceAttributes) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &attributes}}
	for {
		answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("lab: ask what %s may do: %w", user, err)
		}
		if answer.Status.Allowed {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: %s may still not %s %s %s/%s: %w", user, attributes.Verb, attributes.Resource, attributes.Namespace, attributes.Name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
