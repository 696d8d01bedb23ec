package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// Index lists the repository's snapshots for movers under OrderPretend. It is as old as the last call.
func (l *RestoreLab) Index(ctx context.Context) error {
	out, err := l.Kopia.Run(ctx, "snapshot", "list", "--all", "--incomplete", "--json")
	if err != nil {
		return err
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
		return fmt.Errorf("lab: what kopia lists: %w", err)
	}
	lines := []string{}
	for _, m := range manifests {
		as := recovery.KopiaSource{Username: m.Source.UserName, Hostname: m.Source.Host, Path: m.Source.Path}
		lines = append(lines, fmt.Sprintf("%s %s %s %d", as, m.StartTime, m.ID, m.RootEntry.Summary.Files))
	}
	slices.Sort(lines)
	path := filepath.Join(l.image.folder, "orders", "index")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("lab: index of the repository: %w", err)
	}
	return nil
}
