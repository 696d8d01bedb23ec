package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/recovery"
)

// ListedSnapshot is a snapshot as the mover's listing has it.
type ListedSnapshot struct {
	ID string
	// StartTime is text, as it is compared.
	StartTime string
	Files     int64
}

// selectSnapshot takes what the mover takes: of those that began by then, compared as texts, the newest but so
// many.
// Source: perfectra1n/volsync mover-kopia/entry.sh, select_snapshot_to_restore.
func selectSnapshot(all []ListedSnapshot, asOf string, previous int) (ListedSnapshot, bool) {
	var eligible []ListedSnapshot
	for _, snapshot := range slices.Backward(all) {
		if asOf == "" || snapshot.StartTime <= asOf {
			eligible = append(eligible, snapshot)
		}
	}
	if previous >= len(eligible) {
		return ListedSnapshot{}, false
	}
	return eligible[previous], true
}

// ListSnapshots lists a repository in a folder as movers do, checkpoints included, the oldest first.
func (k *Kopia) ListSnapshots(ctx context.Context, repository string) (map[recovery.KopiaSource][]ListedSnapshot, error) {
	connect := []string{"repository", "connect", "filesystem", "--path", repository, "--override-username", "lab", "--override-hostname", "lab"}
	if _, err := k.Run(ctx, connect...); err != nil {
		return nil, err
	}
	out, err := k.Run(ctx, "snapshot", "list", "--all", "--incomplete", "--no-retention", "--json")
	if err != nil {
		return nil, err
	}
	var manifests []struct {
		ID        string `json:"id"`
		StartTime string `json:"startTime"`
		Source    struct {
			Host     string `json:"host"`
			UserName string `json:"userName"`
			Path     string `json:"path"`
		} `json:"source"`
		RootEntry struct {
			Summary struct {
				Files int64 `json:"files"`
			} `json:"summ"`
		} `json:"rootEntry"`
	}
	if err := json.Unmarshal(out, &manifests); err != nil {
		return nil, fmt.Errorf("lab: what kopia lists: %w", err)
	}
	listed := map[recovery.KopiaSource][]ListedSnapshot{}
	for _, m := range manifests {
		source := recovery.KopiaSource{Username: m.Source.UserName, Hostname: m.Source.Host, Path: m.Source.Path}
		listed[source] = append(listed[source], ListedSnapshot{ID: m.ID, StartTime: m.StartTime, Files: m.RootEntry.Summary.Files})
	}
	for _, snapshots := range listed {
		slices.SortFunc(snapshots, func(a, b ListedSnapshot) int {
			switch {
			case a.StartTime < b.StartTime:
				return -1
			case a.StartTime > b.StartTime:
				return 1
			}
			return 0
		})
	}
	return listed, nil
}

// takeClaim populates a claim that names a ReplicationDestination, once.
func (v *LightVolSync) takeClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) {
	if populatedFrom(claim) == "" || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || v.claims[claim.UID] {
		return
	}
	v.claims[claim.UID] = true
	v.work.Go(func() {
		if err := v.populate(ctx, claim); err != nil && ctx.Err() == nil {
			v.stack.Logf("light VolSync: populate %s/%s: %v", claim.Namespace, claim.Name, err)
		}
	})
}

// populate waits for the image, and gives the claim a volume that is bound to it.
// Source: backube/volsync internal/controller/volumepopulator_controller.go, reconcilePVC.
func (v *LightVolSync) populate(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	for {
		destination, err := v.dynamic.Resource(volsyncResource(destinationKind)).Namespace(claim.Namespace).Get(ctx, populatedFrom(claim), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if r := (&replication{destination}); r.status("latestImage", "kind") == snapshotKind {
			break
		}
		if err := lightWait(ctx, lightLook); err != nil {
			return err
		}
	}
	volume := LightVolume("pvc-"+string(claim.UID), claim)
	volume.Annotations = map[string]string{populatedAnnotation: claim.Namespace + "/" + populatedFrom(claim)}
	return lightRetry(ctx, func() error {
		_, err := v.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
		return err
	})
}

// LightVolume is a volume for a claim, with nothing behind it.
func LightVolume(name string, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: claim.Spec.AccessModes, StorageClassName: *claim.Spec.StorageClassName, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			Capacity: corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: provisionerDriver, VolumeHandle: name,
			}},
			ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: claimKind, Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		},
	}
}
