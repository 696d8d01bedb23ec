package flipworld

import (
	"context"
	"errors"
	"fmt"
	"github.com/drctl/drctl/internal/lab/disturb"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
)

// Recovered judges a world after a recovery against how it was before: every loss or leftover is one
// error. The old server is what the Cluster wrote to before.
func (before *State) Recovered(after *State) error {
	var all []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	wrong(after.Rows == before.Rows, "LOST: rows differ: %s of %s before, %s of %s after", before.Count, before.Rows, after.Count, after.Rows)
	wrong(after.ClusterUID != before.ClusterUID, "the Cluster was not replaced")
	wrong(after.Bootstrap == "initdb", "bootstrap is %q: it was not handed back", after.Bootstrap)
	wrong(after.Server != before.Server && after.Server != "", "it still writes to %s", after.Server)
	wrong(after.Instances == before.Instances, "instances are %d, were %d", after.Instances, before.Instances)
	for claim, uid := range before.Claims {
		wrong(after.Claims[claim] != "" && after.Claims[claim] != uid, "claim %s is %s, was %s", claim, after.Claims[claim], uid)
	}
	for volume, was := range before.Volumes {
		bound := strings.Contains(was, string(corev1.VolumeBound))
		wrong(!bound || after.Volumes[volume] == "Retain Released data", "LOST: old volume %s is %q, was %q", volume, after.Volumes[volume], was)
	}
	for backup, status := range before.Backups {
		wrong(after.Backups[backup] == status, "LOST: backup %s is %q, was %q", backup, after.Backups[backup], status)
	}
	fresh := 0
	for backup, status := range after.Backups {
		if strings.Contains(backup, "/"+after.Server+"/") && status == "DONE" {
			fresh++
		}
	}
	wrong(fresh > 0, "no DONE backup stands under %s", after.Server)
	wrong(after.Password == before.Password, "LOST: the superuser's password differs")
	wrong(after.Suspended == before.Suspended, "ScheduledBackups are suspended: %v", after.Suspended)
	wrong(len(after.Left) == 0, "left behind: %s", strings.Join(after.Left, ", "))
	wrong(after.Remote != before.Remote, "nothing was pushed")
	wrong(after.Local == "" || after.Local == after.Remote, "the checkout is at %s, the remote at %s", after.Local, after.Remote)
	wrong(after.Dirty == "", "the checkout is dirty: %s", after.Dirty)
	return errors.Join(all...)
}

// Untouched judges a world after an abort: all is as it was.
func (before *State) Untouched(after *State) error {
	var all []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	wrong(after.Rows == before.Rows, "LOST: rows differ: %s before, %s after", before.Count, after.Count)
	wrong(after.ClusterUID == before.ClusterUID, "LOST: the Cluster was replaced")
	wrong(after.Bootstrap == before.Bootstrap && after.Server == before.Server, "the Cluster is %s to %s, was %s to %s", after.Bootstrap, after.Server, before.Bootstrap, before.Server)
	wrong(maps.Equal(after.Claims, before.Claims), "claims are %v, were %v", after.Claims, before.Claims)
	wrong(maps.Equal(after.Volumes, before.Volumes), "volumes are %v, were %v", after.Volumes, before.Volumes)
	wrong(maps.Equal(after.Backups, before.Backups), "backups are %v, were %v", after.Backups, before.Backups)
	wrong(slices.Equal(after.Keeps, before.Keeps), "keep marks are %v, were %v", after.Keeps, before.Keeps)
	wrong(after.Password == before.Password && after.SecretOwned == before.SecretOwned, "the superuser's Secret changed")
	wrong(after.Suspended == before.Suspended, "ScheduledBackups are suspended: %v", after.Suspended)
	wrong(len(after.Left) == 0, "left behind: %s", strings.Join(after.Left, ", "))
	wrong(after.Remote == before.Remote, "something was pushed")
	wrong(after.Local == before.Local && after.Dirty == "", "the checkout is at %s %s, was at %s", after.Local, after.Dirty, before.Local)
	return errors.Join(all...)
}

// Lost reports whether a judgement found data gone, and not only something left undone.
func Lost(err error) bool { return disturb.Lost(err) }

// Tidy removes what recoveries before this one left on purpose: old volumes and servers that nothing
// needs, so that hundreds of recoveries fit one machine.
func (w *World) Tidy(ctx context.Context) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: volumes: %w", err)
	}
	for _, volume := range volumes.Items {
		if volume.Status.Phase != corev1.VolumeReleased {
			continue
		}
		if err := client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}); err != nil {
			return fmt.Errorf("flipworld: remove volume %s: %w", volume.Name, err)
		}
		if err := os.RemoveAll(w.Provisioner.Folder(volume.Name)); err != nil {
			return fmt.Errorf("flipworld: remove volume %s: %w", volume.Name, err)
		}
	}
	return w.tidyServers(ctx)
}

func (w *World) tidyServers(ctx context.Context) error {
	cluster, err := w.Cluster(ctx, lab.RecoveryCluster)
	if err != nil {
		return err
	}
	server := cluster.Spec.Backup.BarmanObjectStore.ServerName
	inventory, err := w.Inventory(ctx)
	if err != nil {
		return err
	}
	for key := range inventory {
		if strings.HasPrefix(key, "cnpg/immich/") && !strings.HasPrefix(key, filepath.Join("cnpg/immich", server)+"/") {
			if err := w.MinIO.DeleteObject(ctx, lab.PlatformBucket, key); err != nil {
				return err
			}
		}
	}
	return nil
}
