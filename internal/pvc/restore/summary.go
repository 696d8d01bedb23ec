package restore

import (
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Summary is the report at the end of a restore.
type Summary struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Plan       string           `json:"plan"`
	Mode       Mode             `json:"mode"`
	Namespace  string           `json:"namespace"`
	Name       string           `json:"name"`
	Snapshot   pvc.SnapshotItem `json:"snapshot"`
	// Proof is what the mover itself said.
	Proof string `json:"proof"`
	// Volume is the claim's new volume, empty in place.
	Volume string `json:"volume"`
	// RPOSeconds is the time whose changes are not in the snapshot: up to when the old volume was taken
	// away. RTOSeconds is from the plan's beginning until the Pods were ready again (to its end where there
	// were none), DowntimeSeconds from the first Pod that was stopped.
	RPOSeconds      int64 `json:"rpoSeconds"`
	RTOSeconds      int64 `json:"rtoSeconds"`
	DowntimeSeconds int64 `json:"downtimeSeconds"`
	// BackupID is the first snapshot of the restored volume, empty when none was asked for.
	BackupID string `json:"backupID"`
	// OldVolume is how it was before, nil when there was nothing.
	OldVolume *OldVolume `json:"oldVolume"`
	Notes     []string   `json:"notes"`
}

// OldVolume is how the volume was before, with the commands that bring it back and that remove it.
type OldVolume struct {
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	SizeBytes int64    `json:"sizeBytes"`
	BringBack []string `json:"bringBack"`
	Remove    string   `json:"remove"`
}

// Summarize makes the report out of a finished plan's data and facts. Ended is when it was finished, or now.
func Summarize(planID string, p *Params, created, ended time.Time, fact func(string) string) *Summary {
	s := &Summary{
		APIVersion: recovery.APIVersion, Kind: "RestoreReport", Plan: planID, Mode: p.Mode, Namespace: p.Namespace, Name: p.claim(),
		Snapshot: p.Snapshot, Proof: fact(factProof), Volume: fact(factVolume), BackupID: fact(FactBackup), OldVolume: p.oldVolume(planID), Notes: []string{},
	}
	back := ended
	if ready, err := time.Parse(time.RFC3339, fact(factReadyAt)); err == nil {
		back = ready
	}
	s.RTOSeconds = int64(back.Sub(created).Seconds())
	until := created
	if stopped, err := time.Parse(time.RFC3339, fact(factStoppedAt)); err == nil {
		until = stopped
		s.DowntimeSeconds = int64(back.Sub(stopped).Seconds())
	}
	s.RPOSeconds = max(0, int64(until.Sub(p.Snapshot.StartTime).Seconds()))
	if p.Mode == Replace && p.Backup {
		s.Notes = append(s.Notes, "the platform's policy makes a ReplicationSource for the new claim only once it is 2 h old: until then drctl's first backup is the only one (drctl pvc backup "+p.String()+" makes another)")
	}
	if suspect := fact(factSuspect); suspect != "" {
		s.Notes = append(s.Notes, "do not restore snapshot "+suspect+": it was begun while the volume was being written")
	}
	if p.Keep {
		s.Notes = append(s.Notes, "kept: kubectl -n "+p.Namespace+" get replicationdestination "+planID)
	}
	return s
}

// rescue is the claim as which the old volume can be had back.
func (p *Params) rescue() string { return p.Name + "-rescue" }

// oldVolume names the way back: the retained volume, or in place the VolumeSnapshot.
func (p *Params) oldVolume(planID string) *OldVolume {
	claim := p.rescue()
	modes := `"` + strings.Join(p.AccessModes, `","`) + `"`
	if p.Mode == InPlace && !p.NoSafety {
		manifest := fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":%q,"name":%q},"spec":{"storageClassName":%q,"accessModes":[%s],"resources":{"requests":{"storage":"%d"}},"dataSource":{"apiGroup":"snapshot.storage.k8s.io","kind":"VolumeSnapshot","name":%q}}}`,
			p.Namespace, claim, p.StorageClass, modes, p.CapacityBytes, safetyName(planID))
		return &OldVolume{
			Kind: "VolumeSnapshot", Name: safetyName(planID), SizeBytes: p.CapacityBytes,
			BringBack: []string{"echo '" + manifest + "' | kubectl create -f -"},
			Remove:    "kubectl -n " + p.Namespace + " delete volumesnapshots.snapshot.storage.k8s.io " + safetyName(planID),
		}
	}
	if !p.replaces() || p.OldVolume.Name == "" {
		return nil
	}
	bringBack, remove := p.OldVolume.Rescue(p.Namespace)
	return &OldVolume{Kind: "PersistentVolume", Name: p.OldVolume.Name, SizeBytes: p.OldVolume.SizeBytes, BringBack: bringBack, Remove: remove}
}

// BackupSummary is the report at the end of `drctl pvc backup`.
type BackupSummary struct {
	APIVersion string               `json:"apiVersion"`
	Kind       string               `json:"kind"`
	Plan       string               `json:"plan"`
	Namespace  string               `json:"namespace"`
	Name       string               `json:"name"`
	Source     recovery.KopiaSource `json:"source"`
	// SnapshotID is the new, complete snapshot as the repository has it.
	SnapshotID  string `json:"snapshotID"`
	TookSeconds int64  `json:"tookSeconds"`
}

// SummarizeBackup makes the report of a finished backup.
func SummarizeBackup(planID string, p *Params, created, ended time.Time, fact func(string) string) *BackupSummary {
	return &BackupSummary{
		APIVersion: recovery.APIVersion, Kind: "BackupReport", Plan: planID, Namespace: p.Namespace, Name: p.Name, Source: p.Mover.Identity,
		SnapshotID: fact(FactBackup), TookSeconds: int64(ended.Sub(created).Seconds()),
	}
}
