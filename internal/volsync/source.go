// Package volsync reads VolSync ReplicationSources that use the Kopia mover of the perfectra1n fork:
// what they back up, where the mover writes it, and how often.
//
// It must not import other packages of drctl than recovery. The objects come from whoever can list
// them: a live cluster or a GitOps tree. They stay unstructured, since upstream's types do not know
// spec.kopia and would drop it.
package volsync

import (
	"context"
	"fmt"

	volsyncv1alpha1 "github.com/backube/volsync/api/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// Objects lists whole kinds: the live cluster or a GitOps tree.
type Objects interface {
	List(ctx context.Context, gvr schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, recovery.Gaps, error)
}

// kopiaSpec is what drctl needs of spec.kopia of a ReplicationSource.
type kopiaSpec struct {
	Repository         string `json:"repository"`
	Username           string `json:"username"`
	Hostname           string `json:"hostname"`
	SourcePathOverride string `json:"sourcePathOverride"`
}

// Sources reads the ReplicationSources with a Kopia block of a namespace, or of all of them for "".
// Those of other movers are left out; one that can't be decoded is a gap.
func Sources(ctx context.Context, objects Objects, namespace string) ([]recovery.ReplicationSource, recovery.Gaps, error) {
	items, gaps, err := objects.List(ctx, volsyncv1alpha1.GroupVersion.WithResource("replicationsources"), namespace)
	if err != nil {
		return nil, gaps, err
	}
	sources := make([]recovery.ReplicationSource, 0, len(items))
	for i := range items {
		block, found, err := unstructured.NestedMap(items[i].Object, "spec", "kopia")
		if !found && err == nil {
			continue
		}
		if err == nil {
			err = appendSource(&sources, &items[i], block)
		}
		if err != nil {
			gaps.Add("", &recovery.Problem{
				What: fmt.Sprintf("read ReplicationSource %s/%s", items[i].GetNamespace(), items[i].GetName()),
				Why:  err.Error(),
				Next: "correct the manifest",
				Err:  recovery.ErrDamaged,
			})
		}
	}
	return sources, gaps, nil
}

func appendSource(sources *[]recovery.ReplicationSource, object *unstructured.Unstructured, block map[string]any) error {
	var kopia kopiaSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(block, &kopia); err != nil {
		return fmt.Errorf("decode spec.kopia: %w", err)
	}
	var typed volsyncv1alpha1.ReplicationSource
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		return fmt.Errorf("decode the object: %w", err)
	}
	*sources = append(*sources, sourceOf(&typed, kopia))
	return nil
}

func sourceOf(typed *volsyncv1alpha1.ReplicationSource, kopia kopiaSpec) recovery.ReplicationSource {
	source := recovery.ReplicationSource{
		Namespace: typed.Namespace,
		Name:      typed.Name,
		Claim:     typed.Spec.SourcePVC,
		Identity: Identity(typed.Namespace, typed.Name, Overrides{
			Username: kopia.Username, Hostname: kopia.Hostname, SourcePath: kopia.SourcePathOverride,
		}),
		Paused:           typed.Spec.Paused,
		RepositorySecret: kopia.Repository,
	}
	if trigger := typed.Spec.Trigger; trigger != nil && trigger.Schedule != nil {
		source.Schedule = *trigger.Schedule
	}
	if status := typed.Status; status != nil {
		if status.LastSyncTime != nil {
			source.LastSyncTime = status.LastSyncTime.UTC()
		}
		if status.LatestMoverStatus != nil {
			source.LastResult = string(status.LatestMoverStatus.Result)
		}
	}
	return source
}

// Inferred is the ReplicationSource that the platform's Kyverno policy generates for a labelled claim:
// {pvc}-backup with the Secret volsync-{pvc}, hourly or daily at 02:00. The schedule is empty for
// another label value.
func Inferred(claim recovery.Claim) recovery.ReplicationSource {
	name := claim.Name + "-backup"
	source := recovery.ReplicationSource{
		Namespace:        claim.Namespace,
		Name:             name,
		Claim:            claim.Name,
		Identity:         Identity(claim.Namespace, name, Overrides{}),
		RepositorySecret: "volsync-" + claim.Name,
		Inferred:         true,
	}
	switch claim.Backup {
	case "hourly":
		source.Schedule = "0 * * * *"
	case "daily":
		source.Schedule = "0 2 * * *"
	}
	return source
}
