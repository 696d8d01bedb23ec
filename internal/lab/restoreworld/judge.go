package restoreworld

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// complaints collects what is wrong.
type complaints struct{ all []error }

func (c *complaints) wrong(ok bool, format string, args ...any) {
	if !ok {
		c.all = append(c.all, fmt.Errorf(format, args...))
	}
}

func (c *complaints) err() error { return errors.Join(c.all...) }

// Replaced judges a world after a claim was replaced by a snapshot with the given hash.
func (before *State) Replaced(after *State, hash string) error {
	var c complaints
	was, is := before.Claims[Claim], after.Claims[Claim]
	c.wrong(is.UID != "" && is.UID != was.UID, "the claim was not replaced: UID %q", is.UID)
	c.wrong(is.Phase == "Bound" && !is.Deleting, "the claim is %s", is.Phase)
	c.wrong(is.Volume != was.Volume, "LOST: the claim is bound to its old volume %s", is.Volume)
	c.wrong(after.Volumes[is.Volume].Hash == hash, "LOST: the new volume holds %s, the snapshot %s", after.Volumes[is.Volume].Hash, hash)
	old, now := before.Volumes[was.Volume], after.Volumes[was.Volume]
	c.wrong(now.Hash == old.Hash && now.Policy == "Retain" && now.Phase == "Released", "LOST: old volume %s is %v, was %v", was.Volume, now, old)
	for kind, uid := range after.Generated {
		c.wrong(uid == is.UID, "Kyverno's %s is for claim %s, and not for the new one", kind, uid)
	}
	c.rest(before, after, true)
	return c.err()
}

// InPlace judges a world after a snapshot was restored into the volume; image is whether the volume as it
// was is kept as a VolumeSnapshot.
func (before *State) InPlace(after *State, hash string) error {
	var c complaints
	was, is := before.Claims[Claim], after.Claims[Claim]
	c.wrong(is.UID == was.UID && is.Volume == was.Volume && !is.Deleting, "LOST: the claim is another one: %v, was %v", is, was)
	c.wrong(after.Volumes[is.Volume].Hash == hash, "LOST: the volume holds %s, the snapshot %s", after.Volumes[is.Volume].Hash, hash)
	kept := false
	for name, held := range after.Images {
		kept = kept || (before.Images[name] == "" && held == before.Volumes[was.Volume].Hash)
	}
	c.wrong(kept, "LOST: no VolumeSnapshot holds the volume as it was: %v", after.Images)
	c.wrong(after.Volumes[is.Volume].Policy == before.Volumes[was.Volume].Policy, "the volume is on %s", after.Volumes[is.Volume].Policy)
	c.rest(before, after, true)
	return c.err()
}

// Beside judges a world after a copy was made, and nothing else.
func (before *State) Beside(after *State, name, hash string) error {
	var c complaints
	is := after.Claims[name]
	c.wrong(is.UID != "" && is.Phase == "Bound", "the copy is %q", is.Phase)
	c.wrong(after.Volumes[is.Volume].Hash == hash, "LOST: the copy holds %s, the snapshot %s", after.Volumes[is.Volume].Hash, hash)
	c.wrong(is.Labels["backup"] == "", "the copy has a backup label")
	rest := maps.Clone(after.Claims)
	delete(rest, name)
	c.wrong(claimsEqual(rest, before.Claims), "claims are %v, were %v", rest, before.Claims)
	volumes := maps.Clone(after.Volumes)
	delete(volumes, is.Volume)
	c.wrong(maps.Equal(volumes, before.Volumes), "LOST: volumes are %v, were %v", volumes, before.Volumes)
	c.rest(before, after, false)
	return c.err()
}

// rest is what holds after every restore.
func (c *complaints) rest(before, after *State, backedUp bool) {
	c.wrong(after.Replicas == before.Replicas, "replicas are %d, were %d", after.Replicas, before.Replicas)
	c.wrong(after.Ready == before.Ready, "%d Pods are ready, %d were", after.Ready, before.Ready)
	for _, id := range before.Snapshots {
		c.wrong(slices.Contains(after.Snapshots, id), "LOST: snapshot %s is gone", id)
	}
	c.wrong(!backedUp || len(after.Snapshots) > len(before.Snapshots), "no new backup was made")
	c.wrong(len(after.Left) == 0, "left behind: %s", strings.Join(after.Left, ", "))
	c.wrong(after.Argo == "Synced Healthy", "the Application is %s", after.Argo)
	c.wrong(len(after.Differs) == 0, "%s", strings.Join(after.Differs, "; "))
}

// Untouched judges a world after an abort: all is as it was.
func (before *State) Untouched(after *State) error {
	var c complaints
	c.wrong(claimsEqual(after.Claims, before.Claims), "LOST: claims are %v, were %v", after.Claims, before.Claims)
	c.wrong(maps.Equal(after.Volumes, before.Volumes), "LOST: volumes are %v, were %v", after.Volumes, before.Volumes)
	c.wrong(maps.Equal(after.Images, before.Images), "VolumeSnapshots are %v, were %v", after.Images, before.Images)
	c.wrong(maps.Equal(after.Generated, before.Generated), "Kyverno's objects are %v, were %v", after.Generated, before.Generated)
	c.rest(before, after, false)
	return c.err()
}

func claimsEqual(a, b map[string]ClaimState) bool {
	return maps.EqualFunc(a, b, func(x, y ClaimState) bool {
		return x.UID == y.UID && x.Phase == y.Phase && x.Volume == y.Volume && x.Source == y.Source && x.Deleting == y.Deleting && maps.Equal(x.Labels, y.Labels)
	})
}

// Tidy removes what restores before this one left on purpose, so that hundreds of them fit one machine.
func (w *World) Tidy(ctx context.Context) error {
	volumes, err := w.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: volumes: %w", err)
	}
	for _, volume := range volumes.Items {
		if volume.Status.Phase != corev1.VolumeReleased {
			continue
		}
		if err := w.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("restoreworld: remove volume %s: %w", volume.Name, err)
		}
		if err := os.RemoveAll(w.Provisioner.Folder(volume.Name)); err != nil {
			return fmt.Errorf("restoreworld: remove volume %s: %w", volume.Name, err)
		}
	}
	if err := w.tidySnapshots(ctx); err != nil {
		return err
	}
	return w.tidyImages(ctx)
}

// tidySnapshots keeps so few snapshots that the retention of a mover's policy, which keeps ten of an hour, never
// takes one away that a judgement counts on.
func (w *World) tidySnapshots(ctx context.Context) error {
	const enough, most = 2, 6
	ids, err := snapshotsOf(ctx, w.RestoreLab, Namespace, Claim)
	if err != nil || len(ids) < most {
		return err
	}
	_, err = w.Kopia.Run(ctx, append([]string{"snapshot", "delete", "--delete"}, ids[:len(ids)-enough]...)...)
	return err
}

func (w *World) tidyImages(ctx context.Context) error {
	images, err := w.list(ctx, "snapshot.storage.k8s.io", "v1", "volumesnapshots", "")
	if err != nil {
		return err
	}
	for _, image := range images {
		if !strings.HasSuffix(image.GetName(), "-before") {
			continue
		}
		err := w.dynamic.Resource(snapshots()).Namespace(Namespace).Delete(ctx, image.GetName(), metav1.DeleteOptions{})
		if err != nil {
			return fmt.Errorf("restoreworld: remove VolumeSnapshot %s: %w", image.GetName(), err)
		}
	}
	claims, err := w.client.CoreV1().PersistentVolumeClaims(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: claims: %w", err)
	}
	for _, claim := range claims.Items {
		if claim.Name != Copy {
			continue
		}
		if err := w.client.CoreV1().PersistentVolumeClaims(Namespace).Delete(ctx, claim.Name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("restoreworld: remove claim %s: %w", claim.Name, err)
		}
		time.Sleep(time.Second)
	}
	return nil
}
