package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The kinds that a volume can begin as a copy of.
const (
	snapshotGroup = "snapshot.storage.k8s.io"
	snapshotKind  = "VolumeSnapshot"
	claimKind     = "PersistentVolumeClaim"
)

// errNotProvisioned says that a claim is somebody else's to fill.
var errNotProvisioned = errors.New("lab: left to a populator")

// fill makes the folder of a new volume, and reports whether it holds what the claim asks for: what it is to
// be a copy of may not be there yet.
func (p *Provisioner) fill(ctx context.Context, claim *corev1.PersistentVolumeClaim, folder string) (bool, error) {
	origin, err := p.origin(claim)
	switch {
	case errors.Is(err, errNotProvisioned):
		return false, nil
	case err != nil:
		return false, err
	case origin != "":
		return true, copyTree(ctx, origin, folder)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return false, err
	}
	return true, p.own(folder)
}

// origin is the folder that the claim's volume is to be a copy of, empty for none.
func (p *Provisioner) origin(claim *corev1.PersistentVolumeClaim) (string, error) {
	source := claim.Spec.DataSourceRef
	if source == nil {
		return "", nil
	}
	group := ""
	if source.APIGroup != nil {
		group = *source.APIGroup
	}
	switch {
	case group == snapshotGroup && source.Kind == snapshotKind:
		p.mu.Lock()
		snapshot := p.snapshot
		p.mu.Unlock()
		if snapshot == nil {
			return "", fmt.Errorf("nobody makes VolumeSnapshots here, and %s is asked for", source.Name)
		}
		return snapshot(claim.Namespace, source.Name)
	case group == "" && source.Kind == claimKind:
		other, err := p.claims.PersistentVolumeClaims(claim.Namespace).Get(source.Name)
		if err != nil {
			return "", err
		}
		if other.Spec.VolumeName == "" {
			return "", fmt.Errorf("claim %s, which is to be copied, has no volume", source.Name)
		}
		return p.Folder(other.Spec.VolumeName), nil
	}
	return "", errNotProvisioned
}

// copyTree copies a folder with modes, owners, times, links and extended attributes. The copy is there
// completely or not at all, and is never made a second time: it may be in use by then.
func copyTree(ctx context.Context, from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	partial := to + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("lab: copy %s: %w", from, err)
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--", from, partial).CombinedOutput(); err != nil {
		return fmt.Errorf("lab: copy %s: %w\n%s", from, err, out)
	}
	if err := os.Rename(partial, to); err != nil {
		return fmt.Errorf("lab: copy %s: %w", from, err)
	}
	return nil
}

// Volumes are all volumes whose object or whose folder is there, by name.
func (p *Provisioner) Volumes(ctx context.Context) ([]ProvisionedVolume, error) {
	list, err := p.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("lab: list volumes: %w", err)
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, fmt.Errorf("lab: list the folders of volumes: %w", err)
	}
	folders := map[string]bool{}
	for _, entry := range entries {
		folders[entry.Name()] = true
	}
	var all []ProvisionedVolume
	for _, volume := range list.Items {
		described := ProvisionedVolume{Name: volume.Name, Phase: volume.Status.Phase, ReclaimPolicy: volume.Spec.PersistentVolumeReclaimPolicy}
		if claim := volume.Spec.ClaimRef; claim != nil {
			described.Claim, described.ClaimUID = claim.Namespace+"/"+claim.Name, string(claim.UID)
		}
		if folders[volume.Name] {
			described.Folder = p.Folder(volume.Name)
			delete(folders, volume.Name)
		}
		all = append(all, described)
	}
	for name := range folders {
		all = append(all, ProvisionedVolume{Name: name, Folder: p.Folder(name)})
	}
	return all, nil
}
