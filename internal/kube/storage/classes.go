package storage

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// Source: Kubernetes pkg/volume/util/storageclass.go.
	defaultClass = "storageclass.kubernetes.io/is-default-class"
	// Source: kubernetes-csi/external-snapshotter pkg/utils/util.go.
	defaultSnapshotClass = "snapshot.storage.kubernetes.io/is-default-class"
)

// storageClasses are all of them, and the name of the default one.
type storageClasses struct {
	byName   map[string]recovery.StorageClass
	standard string
}

// Classes are the storage classes by name, with the name of the default one: of several the newest, as the
// API server decides. A class has a VolumeSnapshotClass when there is one of the same driver, the default
// one before others. The answer may be half a minute old.
func (a *API) Classes(ctx context.Context) (map[string]recovery.StorageClass, string, error) {
	found, err := a.classes.get(ctx, a.readClasses)
	return maps.Clone(found.byName), found.standard, err
}

func (a *API) readClasses(ctx context.Context) (storageClasses, error) {
	found := storageClasses{byName: map[string]recovery.StorageClass{}}
	items, err := a.client.ListWhere(ctx, gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, "", "")
	if err != nil {
		return found, err
	}
	snapshotClasses, err := a.snapshotClasses(ctx)
	if err != nil {
		return found, err
	}
	var standard *storagev1.StorageClass
	for i := range items {
		class := &storagev1.StorageClass{}
		if err := read(&items[i], class); err != nil {
			return found, err
		}
		found.byName[class.Name] = recovery.StorageClass{
			Name: class.Name, Provisioner: class.Provisioner, SnapshotClass: snapshotClasses[class.Provisioner],
			WaitsForConsumer: class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer,
		}
		if class.Annotations[defaultClass] == "true" && (standard == nil || standard.CreationTimestamp.Before(&class.CreationTimestamp)) {
			standard, found.standard = class, class.Name
		}
	}
	return found, nil
}

// snapshotClasses are the VolumeSnapshotClasses by driver.
func (a *API) snapshotClasses(ctx context.Context) (map[string]string, error) {
	items, err := a.client.ListWhere(ctx, gvr{Group: volumeSnapshots().Group, Version: "v1", Resource: "volumesnapshotclasses"}, "", "")
	if err != nil && !errors.Is(err, recovery.ErrNotFound) {
		return nil, err
	}
	slices.SortFunc(items, func(x, y unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(y.GetAnnotations()[defaultSnapshotClass], x.GetAnnotations()[defaultSnapshotClass]), cmp.Compare(x.GetName(), y.GetName()))
	})
	byDriver := map[string]string{}
	for i := range items {
		driver, _, _ := unstructured.NestedString(items[i].Object, "driver")
		if byDriver[driver] == "" {
			byDriver[driver] = items[i].GetName()
		}
	}
	return byDriver, nil
}
