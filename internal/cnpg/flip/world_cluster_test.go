package flip

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// fakeCluster is the API server with CloudNativePG's operator behind it: what takes time there takes a
// few looks here.
type fakeCluster struct{ w *world }

func (c fakeCluster) Identity(ctx context.Context) (Identity, error) {
	_, err := c.w.call(ctx, "identity")
	return Identity{ClusterUID: clusterUID, Server: "https://127.0.0.1:6443", Context: "home"}, err
}

func (c fakeCluster) Find(ctx context.Context, _, name string) (*recovery.LiveCluster, error) {
	if _, err := c.w.call(ctx, "find"); err != nil {
		return nil, err
	}
	c.pass(name)
	found := c.w.Clusters[name]
	if found == nil {
		return nil, nil
	}
	live := found.LiveCluster
	return &live, nil
}

// pass lets time go by for a Cluster: a deleted one goes, a new one becomes ready.
func (c fakeCluster) pass(name string) {
	found := c.w.Clusters[name]
	switch {
	case found == nil:
	case found.Looks > 0:
		found.Looks--
	case found.Deleting:
		delete(c.w.Clusters, name)
		for _, key := range sorted(c.w.Claims) {
			claim := c.w.Claims[key]
			if claim.OwnerUID == found.UID && key != c.w.stuck {
				c.w.lose(claim.ReclaimPolicy == "Delete" && found.PlanID == "", "volume "+claim.Name)
				delete(c.w.Claims, key)
			}
		}
		for key, owner := range c.w.Secrets {
			if owner == found.UID {
				delete(c.w.Secrets, key)
			}
		}
	case found.Primary == "" && c.w.log == "":
		found.Ready, found.Primary, found.Phase = true, name+"-1", "Cluster in healthy state"
		found.Archiving, found.ArchivingWhy = c.w.archiving, c.w.archiveWhy
	}
}

func (c fakeCluster) Volumes(ctx context.Context, _, name string) ([]recovery.Volume, error) {
	_, err := c.w.call(ctx, "volumes")
	var volumes []recovery.Volume
	for _, key := range sorted(c.w.Claims) {
		if c.w.Claims[key].Cluster == name {
			volumes = append(volumes, c.w.Claims[key].Volume)
		}
	}
	return volumes, err
}

func (c fakeCluster) SetReclaimPolicy(ctx context.Context, volume, claimUID, policy string) error {
	end, err := c.w.call(ctx, "set-policy "+policy)
	if err != nil {
		return err
	}
	defer end()
	for _, claim := range c.w.Claims {
		if claim.Name == volume && claim.ClaimUID == claimUID {
			claim.ReclaimPolicy = policy
			return nil
		}
	}
	return recovery.ErrConflict
}

func (c fakeCluster) OwnedSecrets(ctx context.Context, _, _, clusterUID string) ([]recovery.OwnedSecret, error) {
	_, err := c.w.call(ctx, "secrets")
	var owned []recovery.OwnedSecret
	for _, key := range sorted(c.w.Secrets) {
		if c.w.Secrets[key] == clusterUID {
			owned = append(owned, recovery.OwnedSecret{Name: key, UID: "uid-of-" + key})
		}
	}
	return owned, err
}

func (c fakeCluster) DisownSecret(ctx context.Context, _ string, secret recovery.OwnedSecret, _ string) error {
	end, err := c.w.call(ctx, "disown "+secret.Name)
	if err == nil {
		c.w.Secrets[secret.Name] = ""
		end()
	}
	return err
}

func (c fakeCluster) OwnSecret(ctx context.Context, _ string, secret recovery.OwnedSecret, _, clusterUID string) error {
	end, err := c.w.call(ctx, "own "+secret.Name)
	if err == nil {
		c.w.Secrets[secret.Name] = clusterUID
		end()
	}
	return err
}

func (c fakeCluster) Schedules(ctx context.Context, _, _ string) ([]recovery.ScheduledBackup, error) {
	_, err := c.w.call(ctx, "schedules")
	var schedules []recovery.ScheduledBackup
	for _, key := range sorted(c.w.Schedules) {
		schedules = append(schedules, recovery.ScheduledBackup{Name: key, Suspended: c.w.Schedules[key]})
	}
	return schedules, err
}

func (c fakeCluster) Suspend(ctx context.Context, _ string, schedule recovery.ScheduledBackup, suspended bool) error {
	end, err := c.w.call(ctx, "suspend "+schedule.Name)
	if err == nil {
		c.w.Schedules[schedule.Name] = suspended
		end()
	}
	return err
}

// BackupObjects lets time go by for a Backup: it completes, and stands in the archive.
func (c fakeCluster) BackupObjects(ctx context.Context, _, name string) ([]recovery.BackupObject, error) {
	if _, err := c.w.call(ctx, "backups"); err != nil {
		return nil, err
	}
	objects := append([]recovery.BackupObject(nil), c.w.Backups...)
	live := c.w.Clusters[name]
	for i := range c.w.Backups {
		object := &c.w.Backups[i]
		if object.Phase != "" || !object.Owned || live == nil {
			continue
		}
		if object.Phase = "completed"; c.w.backupFail != "" {
			object.Phase, object.Error = "failed", c.w.backupFail
			continue
		}
		done := recovery.Backup{ID: "20261123T120500", Status: "DONE", Timeline: int64(live.Data.Timeline), SystemID: live.Data.System}
		at := c.w.server(live.WriteServer)
		at.WAL, at.Newest = true, &done
	}
	return objects, nil
}

func (c fakeCluster) RequestBackup(ctx context.Context, _, _, name, _ string) error {
	end, err := c.w.call(ctx, "request-backup")
	if err != nil {
		return err
	}
	defer end()
	for _, object := range c.w.Backups {
		if object.Name == name {
			return nil
		}
	}
	c.w.Backups = append(c.w.Backups, recovery.BackupObject{Name: name, Owned: true})
	return nil
}

func (c fakeCluster) Delete(ctx context.Context, _, name, uid string) error {
	end, err := c.w.call(ctx, "delete")
	if err != nil {
		return err
	}
	defer end()
	found := c.w.Clusters[name]
	switch {
	case found == nil:
		return recovery.ErrNotFound
	case uid != "" && uid != found.UID:
		return recovery.ErrConflict
	case found.Deleting:
		return nil
	}
	c.w.lose(uid == "", "deleted without the UID")
	c.w.lose(found.PlanID == "" && found.Name == name && len(c.w.Fences) == 0, "deleted without a fence")
	found.Deleting, found.Looks = true, 2
	return nil
}

func (c fakeCluster) Leftovers(ctx context.Context, _, name string) ([]recovery.Leftover, error) {
	_, err := c.w.call(ctx, "leftovers")
	var left []recovery.Leftover
	for _, key := range sorted(c.w.Claims) {
		if c.w.Claims[key].Cluster == name {
			left = append(left, recovery.Leftover{Kind: "PersistentVolumeClaim", Name: key, Why: "finalizer kubernetes.io/pvc-protection"})
		}
	}
	return left, err
}

func (c fakeCluster) Create(ctx context.Context, raw json.RawMessage) (string, error) {
	end, err := c.w.call(ctx, "create")
	if err != nil {
		return "", err
	}
	defer end()
	m := manifestOf(raw)
	if c.w.Clusters[m.Name] != nil {
		return "", recovery.ErrExists
	}
	return c.w.appear(m).UID, nil
}

// appear makes a Cluster as the operator does: claims that are there are adopted, and nothing is recovered.
func (w *world) appear(m manifest) *cluster {
	data := w.recovered
	if m.Bootstrap != "recovery" {
		data = database{System: "7499999999999999999", Timeline: 1}
	}
	made := w.cluster(m, data)
	adopted := false
	for _, claim := range w.Claims {
		adopted = adopted || claim.Cluster == m.Name
	}
	w.lose(adopted, "old claims adopted")
	made.Ready, made.Primary, made.Phase, made.Archiving, made.Looks, made.Manager = false, "", "Setting up primary", "unknown", 2, "drctl"
	w.Clusters[m.Name] = made
	if !adopted {
		w.claims(made)
	}
	return made
}

func (c fakeCluster) Admit(ctx context.Context, _ json.RawMessage) error {
	_, err := c.w.call(ctx, "admit")
	return err
}

func (c fakeCluster) RecoveryLog(ctx context.Context, _, _ string) (string, error) {
	_, err := c.w.call(ctx, "log")
	return c.w.log, err
}

func (c fakeCluster) SQL(ctx context.Context, _, pod, _, query string) (string, error) {
	if _, err := c.w.call(ctx, "sql"); err != nil {
		return "", err
	}
	for _, found := range c.w.Clusters {
		if found.Primary == pod {
			return found.Data.answer(query)
		}
	}
	return "", errors.New("pods " + pod + " not found")
}

func (d database) answer(query string) (string, error) {
	switch {
	case query == querySystem:
		return d.System, nil
	case query == queryTimeline:
		return "f|" + strconv.Itoa(d.Timeline), nil
	case query == queryTables:
		return "2", nil
	case query == queryRows:
		return strconv.Itoa(d.Rows), nil
	case strings.Contains(query, ".history"):
		return d.History, nil
	}
	return query, nil
}
