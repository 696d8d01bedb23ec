package storage

import (
	"cmp"
	"context"
	"errors"
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

// Classes are the storage classes by name, with the name of the default one: of several the newest, as the
// API server decides. A class has a VolumeSnapshotClass when there is one of the same driver, the default
// one before others.
func (a *API) Classes(ctx context.Context) (map[string]recovery.StorageClass, string, error) {
	items, err := a.client.ListWhere(ctx, gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, "", "")
	if err != nil {
		return nil, "", err
	}
	snapshotClasses, err := a.snapshotClasses(ctx)
	if err != nil {
		return nil, "", err
	}
	byName, standard := map[string]recovery.StorageClass{}, (*storagev1.StorageClass)(nil)
	for i := range items {
		class := &storagev1.StorageClass{}
		if err := read(&items[i], class); err != nil {
			return nil, "", err
		}
		byName[class.Name] = recovery.StorageClass{
			Name: class.Name, Provisioner: class.Provisioner, SnapshotClass: snapshotClasses[class.Provisioner],
			WaitsForConsumer: class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer,
		}
		if class.Annotations[defaultClass] == "true" && (standard == nil || standard.CreationTimestamp.Before(&class.CreationTimestamp)) {
			standard = class
		}
	}
	if standard == nil {
		return byName, "", nil
	}
	return byName, standard.Name, nil
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
