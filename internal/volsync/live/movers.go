// Package live is what a restore does to and asks of VolSync through the Kubernetes API: it reads how a
// claim is backed up, makes ReplicationDestinations and ReplicationSources of drctl's own with their
// Secrets, watches them, and keeps what their movers say.
//
// It imports kube, volsync (which knows the manifests) and recovery, and no use case.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	volsyncv1alpha1 "github.com/backube/volsync/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/volsync"
)

const managedBy = "app.kubernetes.io/managed-by"

// Movers are VolSync's objects in a cluster. It may be used from several goroutines.
type Movers struct {
	client *kube.Client
	looks  *kube.Watches
	logs   *logs
}

// New gives the movers of a cluster. What looks at them does so through the watches; the logs of drctl's own
// movers are followed until ctx ends.
func New(ctx context.Context, client *kube.Client, looks *kube.Watches) *Movers {
	m := &Movers{client: client, looks: looks, logs: newLogs(ctx, client)}
	looks.Notice(core("pods"), m.logs.notice)
	return m
}

func sources() schema.GroupVersionResource {
	return volsyncv1alpha1.GroupVersion.WithResource("replicationsources")
}

func destinations() schema.GroupVersionResource {
	return volsyncv1alpha1.GroupVersion.WithResource("replicationdestinations")
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

// Template is what the claim's own objects say of its mover, or the platform's policy where there are none.
func (m *Movers) Template(ctx context.Context, namespace, claim string) (volsync.Template, error) {
	from, err := m.looks.List(ctx, sources(), namespace)
	if err != nil {
		return volsync.Template{}, err
	}
	to, err := m.looks.List(ctx, destinations(), namespace)
	if err != nil {
		return volsync.Template{}, err
	}
	return volsync.TemplateOf(namespace, claim, from, to)
}

// CreateDestination makes the Secret and the ReplicationDestination. What is the plan's own already is no
// error, anything else of that name is recovery.ErrExists.
func (m *Movers) CreateDestination(ctx context.Context, d volsync.Destination) error {
	manifest, err := d.Manifest()
	if err != nil {
		return err
	}
	return m.create(ctx, destinations(), manifest, d.PlanID, d.Template)
}

// CreateSource makes a ReplicationSource that runs once, in the same manner.
func (m *Movers) CreateSource(ctx context.Context, s volsync.Source) error {
	manifest, err := s.Manifest()
	if err != nil {
		return err
	}
	return m.create(ctx, sources(), manifest, s.PlanID, s.Template)
}

// create makes the Secret first: a mover without one fails, and tries again with growing pauses.
func (m *Movers) create(ctx context.Context, gvr schema.GroupVersionResource, manifest *unstructured.Unstructured, planID string, template volsync.Template) error {
	data, err := m.secretData(ctx, manifest.GetNamespace(), template)
	if err != nil {
		return err
	}
	secret := volsync.SecretManifest(manifest.GetNamespace(), manifest.GetName(), planID, data)
	if err := m.ensure(ctx, core("secrets"), secret, planID); err != nil {
		return err
	}
	if err := m.attend(ctx, manifest.GetNamespace(), volsync.JobName(manifest)); err != nil {
		return err
	}
	return m.ensure(ctx, gvr, manifest, planID)
}

// ensure creates an object unless it is there and the plan's own.
func (m *Movers) ensure(ctx context.Context, gvr schema.GroupVersionResource, manifest *unstructured.Unstructured, planID string) error {
	_, err := m.client.Create(ctx, gvr, manifest, kube.WriteOptions{})
	if !errors.Is(err, recovery.ErrExists) {
		return err
	}
	there, readErr := m.client.Get(ctx, gvr, manifest.GetNamespace(), manifest.GetName())
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	if there.GetAnnotations()[recovery.PlanMark] == planID && there.GetDeletionTimestamp() == nil {
		return nil
	}
	return err
}

// secretData is what opens the repository: the claim's own Secret, else the platform's.
func (m *Movers) secretData(ctx context.Context, namespace string, template volsync.Template) (map[string][]byte, error) {
	name := namespace + "/" + template.Secret
	data, err := m.client.Secret(ctx, namespace, template.Secret)
	if err == nil {
		return data, volsync.CheckSecret(name, data)
	}
	if !errors.Is(err, recovery.ErrNotFound) || template.Fallback == "" {
		return nil, err
	}
	place, secret, ok := strings.Cut(template.Fallback, "/")
	if !ok {
		return nil, fmt.Errorf("read Secret %s: it is no NAMESPACE/NAME", template.Fallback)
	}
	fallback, fallbackErr := m.client.Secret(ctx, place, secret)
	if fallbackErr != nil {
		return nil, errors.Join(err, fallbackErr)
	}
	return volsync.FromFallback(template.Fallback, fallback)
}

// Destination is a look, nil when there is none. DestinationNow is the server's present state.
func (m *Movers) Destination(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	return m.look(ctx, destinations(), namespace, name)
}

// Source is a look, nil when there is none.
func (m *Movers) Source(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	return m.look(ctx, sources(), namespace, name)
}

func (m *Movers) look(ctx context.Context, gvr schema.GroupVersionResource, namespace, name string) (*recovery.MoverRun, error) {
	object, err := m.looks.Get(ctx, gvr, namespace, name)
	if err != nil || object == nil {
		return nil, err
	}
	return m.run(ctx, object)
}

// DestinationNow is the server's present state, nil when there is none.
func (m *Movers) DestinationNow(ctx context.Context, namespace, name string) (*recovery.MoverRun, error) {
	object, err := m.client.Get(ctx, destinations(), namespace, name)
	if errors.Is(err, recovery.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.run(ctx, object)
}

// run reads the state, and sees to it that the log of drctl's own mover is not lost: VolSync deletes the Job
// as soon as the run is complete.
func (m *Movers) run(ctx context.Context, object *unstructured.Unstructured) (*recovery.MoverRun, error) {
	run, err := volsync.RunOf(object)
	if err != nil {
		return nil, err
	}
	if run.PlanID != "" {
		if err := m.attend(ctx, object.GetNamespace(), run.Job); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// Rerun has the plan's own ReplicationDestination run once more, under another trigger. One that is not the
// plan's, or was changed meanwhile, is recovery.ErrConflict.
func (m *Movers) Rerun(ctx context.Context, namespace, name, planID, trigger string) error {
	there, err := m.client.Get(ctx, destinations(), namespace, name)
	if err != nil {
		return err
	}
	run, err := volsync.RunOf(there)
	if err != nil {
		return err
	}
	if run.PlanID != planID {
		return &recovery.Problem{
			What: fmt.Sprintf("run ReplicationDestination %s/%s once more", namespace, name), Why: "it is not of plan " + planID, Next: "look who made it", Err: recovery.ErrConflict,
		}
	}
	if err := m.attend(ctx, namespace, run.Job); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": there.GetResourceVersion()}, "spec": map[string]any{"trigger": map[string]any{"manual": trigger}},
	})
	if err != nil {
		return fmt.Errorf("encode the trigger of %s/%s: %w", namespace, name, err)
	}
	_, err = m.client.PatchMerge(ctx, destinations(), namespace, name, body, kube.WriteOptions{})
	return err
}

// Running are the claim's ReplicationSources that are synchronizing right now, by name, drctl's own
// included.
func (m *Movers) Running(ctx context.Context, namespace, claim string) ([]string, error) {
	objects, err := m.looks.List(ctx, sources(), namespace)
	if err != nil {
		return nil, err
	}
	running := []string{}
	for _, object := range objects {
		if of, _, _ := unstructured.NestedString(object.Object, "spec", "sourcePVC"); of != claim {
			continue
		}
		busy, err := volsync.Synchronizing(object)
		if err != nil {
			return nil, err
		}
		if busy {
			running = append(running, object.GetName())
		}
	}
	slices.Sort(running)
	return running, nil
}

// owned are the kinds that create makes, in the order in which they are removed.
func owned() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{destinations(), sources(), core("secrets")}
}

// Remove deletes what was made for the plan under that name. What is gone is no error; what is somebody
// else's is recovery.ErrConflict.
func (m *Movers) Remove(ctx context.Context, namespace, name, planID string) error {
	for _, gvr := range owned() {
		there, err := m.client.Get(ctx, gvr, namespace, name)
		if errors.Is(err, recovery.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if there.GetAnnotations()[recovery.PlanMark] != planID {
			return &recovery.Problem{
				What: fmt.Sprintf("remove %s %s/%s", there.GetKind(), namespace, name), Why: "plan " + planID + " did not make it",
				Next: "look who did: kubectl get -o yaml --show-managed-fields", Err: recovery.ErrConflict,
			}
		}
		err = m.client.Delete(ctx, gvr, namespace, name, kube.Preconditions{UID: string(there.GetUID())}, metav1.DeletePropagationBackground)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Left are the objects of the plan that are still there, as "Kind NAME".
func (m *Movers) Left(ctx context.Context, namespace, planID string) ([]string, error) {
	left := []string{}
	for _, gvr := range owned() {
		objects, err := m.client.ListWhere(ctx, gvr, namespace, managedBy+"=drctl,"+recovery.PlanMark+"="+planID)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, err
		}
		for i := range objects {
			left = append(left, objects[i].GetKind()+" "+objects[i].GetName())
		}
	}
	return left, nil
}

// ReadRestore and ReadBackup read a mover's lines, from the status or from the Pod.
func (m *Movers) ReadRestore(lines string) recovery.RestoreLog { return volsync.ParseRestoreLog(lines) }

// ReadBackup reads the lines of a mover that backs up.
func (m *Movers) ReadBackup(lines string) recovery.BackupLog { return volsync.ParseBackupLog(lines) }
