package lab

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/drctl/drctl/internal/recovery"
)

// KopiaBackup is one snapshot that the lab took.
type KopiaBackup struct {
	ID string
	// StartTime is the manifest's, as a mover compares it.
	StartTime string
	Files     int64
}

// Backup takes a snapshot of a claim's volume as its own mover would, under the identity of NAME-backup. It
// needs no mover, and no volume snapshot.
func (l *RestoreLab) Backup(ctx context.Context, namespace, name string) (KopiaBackup, error) {
	folder, err := l.WaitBound(ctx, namespace, name)
	if err != nil {
		return KopiaBackup{}, err
	}
	return l.BackupFolder(ctx, folder, recovery.KopiaSource{
		Username: usernameOf(name + "-backup"), Hostname: hostnameOf(namespace, name), Path: "/data",
	})
}

// BackupFolder takes a snapshot of a folder under an identity.
func (l *RestoreLab) BackupFolder(ctx context.Context, folder string, as recovery.KopiaSource) (KopiaBackup, error) {
	out, err := l.Kopia.Run(ctx, "snapshot", "create", folder, "--override-source", as.String(), "--json", "--no-progress")
	if err != nil {
		return KopiaBackup{}, err
	}
	var manifest struct {
		ID        string `json:"id"`
		StartTime string `json:"startTime"`
		RootEntry struct {
			Summary struct {
				Files int64 `json:"files"`
			} `json:"summ"`
		} `json:"rootEntry"`
	}
	if err := json.Unmarshal(out, &manifest); err != nil {
		return KopiaBackup{}, fmt.Errorf("lab: what kopia says of the snapshot of %s: %w\n%s", as, err, out)
	}
	return KopiaBackup{ID: manifest.ID, StartTime: manifest.StartTime, Files: manifest.RootEntry.Summary.Files}, l.giveRepository()
}
