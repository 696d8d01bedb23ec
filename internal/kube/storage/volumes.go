package storage

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// Volume is the server's present state, nil when there is none.
func (a *API) Volume(ctx context.Context, name string) (*recovery.LiveVolume, error) {
	object, err := a.client.Get(ctx, core("persistentvolumes"), "", name)
	if err != nil {
		return nil, absent(err)
	}
	var pv corev1.PersistentVolume
	if err := read(object, &pv); err != nil {
		return nil, err
	}
	size := pv.Spec.Capacity[corev1.ResourceStorage]
	volume := &recovery.LiveVolume{
		Name: pv.Name, Phase: string(pv.Status.Phase), ReclaimPolicy: string(pv.Spec.PersistentVolumeReclaimPolicy), SizeBytes: size.Value(),
	}
	if pv.Spec.ClaimRef != nil {
		volume.ClaimUID = string(pv.Spec.ClaimRef.UID)
	}
	return volume, nil
}

// SetReclaimPolicy sets a volume's policy while it is Bound to the claim of that UID, else it is
// recovery.ErrConflict. A Released volume that is patched to Delete is gone within seconds, so both are
// tested in the same request.
func (a *API) SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error {
	patch, err := patchOf(
		operation{"test", "/spec/claimRef/uid", claimUID}, operation{"test", "/status/phase", string(corev1.VolumeBound)},
		operation{"replace", "/spec/persistentVolumeReclaimPolicy", policy})
	if err != nil {
		return err
	}
	_, err = a.client.PatchJSON(ctx, core("persistentvolumes"), "", volume, patch, kube.WriteOptions{})
	if errors.Is(err, recovery.ErrConflict) {
		return &recovery.Problem{
			What: "set the reclaim policy of volume " + volume, Why: "it is not Bound to the claim that it was bound to", Next: "leave it as it is", Err: err,
		}
	}
	return err
}
