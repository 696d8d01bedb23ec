package platform

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Beginning is how a live Cluster of CloudNativePG began.
type Beginning struct {
	Namespace, Name, UID string
	// SystemID is PostgreSQL's own, empty as long as no instance ran.
	SystemID string
	// Initdb: it began, or begins, empty. One that is to import another database does not.
	Initdb    bool
	CreatedAt time.Time
}

// Beginnings are those of all live Clusters; none when the definition is not there.
//
// A Cluster without any bootstrap begins with initdb. Source: CloudNativePG api/v1/cluster_defaults.go.
func (a *API) Beginnings(ctx context.Context) ([]Beginning, error) {
	items, err := a.client.ListWhere(ctx, gvr{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}, "", "")
	if err != nil {
		return nil, absent(err)
	}
	found := make([]Beginning, 0, len(items))
	for i := range items {
		cluster := &items[i]
		has := func(path ...string) bool {
			_, there, _ := unstructured.NestedFieldNoCopy(cluster.Object, append([]string{"spec", "bootstrap"}, path...)...)
			return there
		}
		systemID, _, _ := unstructured.NestedString(cluster.Object, "status", "systemID")
		found = append(found, Beginning{
			Namespace: cluster.GetNamespace(), Name: cluster.GetName(), UID: string(cluster.GetUID()), SystemID: systemID,
			Initdb:    !has("recovery") && !has("pg_basebackup") && !has("initdb", "import"),
			CreatedAt: cluster.GetCreationTimestamp().UTC(),
		})
	}
	return found, nil
}
