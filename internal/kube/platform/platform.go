// Package platform is what a bootstrap asks of a cluster and does to it through the Kubernetes API: whether it can
// carry the platform, the Secrets that have to be there first, the root Application, and what holds Pods, claims
// and Jobs back while the waves run.
//
// It imports kube and recovery, and no use case. Everything is the server's present state; nothing is remembered.
package platform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// API is a cluster. It may be used from several goroutines.
type API struct {
	client *kube.Client
	now    func() time.Time
}

// New gives a cluster; it sends no request.
func New(client *kube.Client) *API { return &API{client: client, now: time.Now} }

// gvr names a kind as the API's paths do.
type gvr = schema.GroupVersionResource

func core(resource string) gvr { return gvr{Version: "v1", Resource: resource} }
func apps(resource string) gvr { return gvr{Group: "apps", Version: "v1", Resource: resource} }

// read decodes an object into a type of Kubernetes' own.
func read(object *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		return &recovery.Problem{
			What: fmt.Sprintf("read %s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName()), Why: err.Error(),
			Next: "look at it: kubectl get -o yaml", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return nil
}

// readAll decodes a listing.
func readAll[T any](items []unstructured.Unstructured) ([]T, error) {
	objects := make([]T, len(items))
	for i := range items {
		if err := read(&items[i], &objects[i]); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// absent turns what is not there into no error.
func absent(err error) error {
	if errors.Is(err, recovery.ErrNotFound) {
		return nil
	}
	return err
}

// Version is the API server's, as "1.37.2".
func (a *API) Version(ctx context.Context) (string, error) { return a.client.Version(ctx) }

// Admin reports whether this user may do everything: Argo CD's own roles can't be given by less.
func (a *API) Admin(ctx context.Context) (bool, error) {
	return a.client.Can(ctx, "", "*", gvr{Group: "*", Version: "*", Resource: "*"}, "")
}

// Nodes are those of the cluster, by name.
func (a *API) Nodes(ctx context.Context) ([]recovery.Node, error) {
	items, err := a.client.ListWhere(ctx, core("nodes"), "", "")
	if err != nil {
		return nil, err
	}
	nodes, err := readAll[corev1.Node](items)
	if err != nil {
		return nil, err
	}
	found := make([]recovery.Node, 0, len(nodes))
	for i := range nodes {
		found = append(found, nodeOf(&nodes[i]))
	}
	slices.SortFunc(found, func(x, y recovery.Node) int { return strings.Compare(x.Name, y.Name) })
	return found, nil
}

func nodeOf(node *corev1.Node) recovery.Node {
	found := recovery.Node{Name: node.Name, Why: "the kubelet has not reported yet"}
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		found.Ready, found.Why = condition.Status == corev1.ConditionTrue, ""
		if !found.Ready {
			found.Why = said(condition.Reason, condition.Message)
		}
	}
	return found
}

// said joins a reason and a message as one line.
func said(reason, message string) string {
	text := strings.Join(strings.Fields(message), " ")
	switch {
	case reason == "":
		return text
	case text == "":
		return reason
	}
	return reason + ": " + text
}

// Definition reports whether a CustomResourceDefinition is Established; false without an error when it is not
// there, or being deleted.
func (a *API) Definition(ctx context.Context, name string) (bool, error) {
	definition, err := a.client.Get(ctx, gvr{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, "", name)
	if err != nil {
		return false, absent(err)
	}
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	established := slices.ContainsFunc(conditions, func(item any) bool {
		condition, _ := item.(map[string]any)
		return condition["type"] == "Established" && condition["status"] == "True"
	})
	return established && definition.GetDeletionTimestamp() == nil, nil
}

// StorageClasses are their names, sorted, and the default one's, empty for none: of several the newest, as the API
// server decides. Source: Kubernetes pkg/volume/util/storageclass.go.
func (a *API) StorageClasses(ctx context.Context) (names []string, standard string, err error) {
	items, err := a.client.ListWhere(ctx, gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, "", "")
	if err != nil {
		return nil, "", err
	}
	classes, err := readAll[storagev1.StorageClass](items)
	if err != nil {
		return nil, "", err
	}
	names = []string{}
	var newest *storagev1.StorageClass
	for i := range classes {
		class := &classes[i]
		names = append(names, class.Name)
		isDefault := class.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" ||
			class.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
		if isDefault && (newest == nil || newest.CreationTimestamp.Before(&class.CreationTimestamp)) {
			newest, standard = class, class.Name
		}
	}
	slices.Sort(names)
	return names, standard, nil
}

// Claims are those that carry the backup label, in all namespaces.
func (a *API) Claims(ctx context.Context) ([]recovery.RestoringClaim, error) {
	items, err := a.client.ListWhere(ctx, core("persistentvolumeclaims"), "", "backup")
	if err != nil {
		return nil, err
	}
	claims, err := readAll[corev1.PersistentVolumeClaim](items)
	if err != nil {
		return nil, err
	}
	found := make([]recovery.RestoringClaim, 0, len(claims))
	for i := range claims {
		claim := &claims[i]
		restoring := recovery.RestoringClaim{
			Namespace: claim.Namespace, Name: claim.Name, Phase: string(claim.Status.Phase), CreatedAt: claim.CreationTimestamp.UTC(),
		}
		if from := claim.Spec.DataSourceRef; from != nil && from.Kind == "ReplicationDestination" {
			restoring.Source = from.Name
		}
		found = append(found, restoring)
	}
	slices.SortFunc(found, func(x, y recovery.RestoringClaim) int {
		return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name)
	})
	return found, nil
}
