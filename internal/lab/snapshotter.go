package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// The finalizers of CSI snapshots: a snapshot stays while a claim is made from it, and what is bound goes
// only through whoever made it.
// Source: kubernetes-csi/external-snapshotter pkg/utils/util.go.
const (
	snapshotSourceFinalizer  = "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection"
	snapshotBoundFinalizer   = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
	snapshotContentFinalizer = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
)

// defaultSnapshotClass marks the class of snapshots that name none.
const defaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"

// The resources of CSI snapshots.
func snapshotResource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: snapshotGroup, Version: "v1", Resource: plural}
}

// Snapshotter plays the snapshot controller and the driver's snapshotter: a copy of the folder that stands
// for a volume, its VolumeSnapshotContent, and the status of both. The copy goes with its content where the
// class says Delete.
// Source: kubernetes-csi/external-snapshotter pkg/common-controller, pkg/sidecar-controller.
type Snapshotter struct {
	dir         string
	logf        func(string, ...any)
	client      dynamic.Interface
	provisioner *Provisioner
	snapshots   cache.GenericLister
	classes     cache.GenericLister
}

// Snapshotter starts a snapshotter for the provisioner's volumes, which then makes claims from its
// VolumeSnapshots. The definitions of CSI snapshots must be there. It runs until Close.
func (s *Stack) Snapshotter(ctx context.Context, k *Kubernetes, p *Provisioner) (*Snapshotter, error) {
	client, err := dynamic.NewForConfig(k.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("lab: client of the snapshotter: %w", err)
	}
	dir, err := s.Dir(fmt.Sprintf("snapshots-%d", k.port))
	if err != nil {
		return nil, err
	}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	snapshots, classes := factory.ForResource(snapshotResource("volumesnapshots")), factory.ForResource(snapshotResource("volumesnapshotclasses"))
	t := &Snapshotter{dir: dir, logf: s.logf, client: client, provisioner: p, snapshots: snapshots.Lister(), classes: classes.Lister()}
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{snapshots.Informer(), classes.Informer()} {
		if _, err := informer.AddEventHandler(notify(changed)); err != nil {
			return nil, fmt.Errorf("lab: watch VolumeSnapshots: %w", err)
		}
	}
	s.Defer(func() error { factory.Shutdown(); return nil })
	running := s.background(ctx, func(ctx context.Context) { t.run(ctx, changed) })
	factory.Start(running.Done())
	factory.WaitForCacheSync(running.Done())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.snapshot = t.ready
	return t, nil
}

func (t *Snapshotter) run(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(provisionerResync):
		}
		all, err := t.snapshots.List(labels.Everything())
		if err != nil {
			continue
		}
		for _, object := range all {
			snapshot := object.(*unstructured.Unstructured).DeepCopy()
			work := t.make
			if snapshot.GetDeletionTimestamp() != nil {
				work = t.remove
			}
			if err := work(ctx, snapshot); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				t.logf("VolumeSnapshot %s/%s: %v", snapshot.GetNamespace(), snapshot.GetName(), err)
			}
		}
	}
}

// ready is the folder of a VolumeSnapshot that a claim can be made from.
func (t *Snapshotter) ready(namespace, name string) (string, error) {
	object, err := t.snapshots.ByNamespace(namespace).Get(name)
	if err != nil {
		return "", err
	}
	snapshot := object.(*unstructured.Unstructured)
	if usable, _, _ := unstructured.NestedBool(snapshot.Object, "status", "readyToUse"); !usable {
		return "", fmt.Errorf("VolumeSnapshot %s is not ready to use", name)
	}
	return t.Folder(string(snapshot.GetUID())), nil
}

// Folder stands for the snapshot with this UID. It may be gone.
func (t *Snapshotter) Folder(uid string) string { return filepath.Join(t.dir, uid) }

// Folders are the UIDs of the snapshots whose data are there.
func (t *Snapshotter) Folders() ([]string, error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return nil, fmt.Errorf("lab: list the folders of snapshots: %w", err)
	}
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}

// remove removes what belongs to a snapshot that is being deleted, and lets it go.
func (t *Snapshotter) remove(ctx context.Context, snapshot *unstructured.Unstructured) error {
	if len(snapshot.GetFinalizers()) == 0 {
		return nil
	}
	claims, err := t.provisioner.claims.PersistentVolumeClaims(snapshot.GetNamespace()).List(labels.Everything())
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if source := claim.Spec.DataSourceRef; claim.Status.Phase == corev1.ClaimPending && claim.DeletionTimestamp == nil &&
			source != nil && source.Kind == snapshotKind && source.Name == snapshot.GetName() {
			return nil
		}
	}
	if err := t.removeContent(ctx, contentName(snapshot)); err != nil {
		return err
	}
	kept := slices.DeleteFunc(snapshot.GetFinalizers(), func(name string) bool {
		return name == snapshotSourceFinalizer || name == snapshotBoundFinalizer
	})
	snapshot.SetFinalizers(kept)
	_, err = t.client.Resource(snapshotResource("volumesnapshots")).Namespace(snapshot.GetNamespace()).Update(ctx, snapshot, metav1.UpdateOptions{})
	return err
}

// removeContent removes content and data where its policy is Delete; with Retain both stay.
func (t *Snapshotter) removeContent(ctx context.Context, name string) error {
	contents := t.client.Resource(snapshotResource("volumesnapshotcontents"))
	content, err := contents.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if policy, _, _ := unstructured.NestedString(content.Object, "spec", "deletionPolicy"); policy != "Delete" {
		return nil
	}
	if err := contents.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	uid, _, _ := unstructured.NestedString(content.Object, "spec", "volumeSnapshotRef", "uid")
	if err := os.RemoveAll(t.Folder(uid)); err != nil {
		return err
	}
	if content, err = contents.Get(ctx, name, metav1.GetOptions{}); err != nil {
		return err
	}
	content.SetFinalizers(nil)
	_, err = contents.Update(ctx, content, metav1.UpdateOptions{})
	return err
}

func contentName(snapshot *unstructured.Unstructured) string {
	return "snapcontent-" + string(snapshot.GetUID())
}
