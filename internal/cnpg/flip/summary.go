package flip

import (
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Summary is the report at the end of a recovery.
type Summary struct {
	APIVersion    string          `json:"apiVersion"`
	Kind          string          `json:"kind"`
	Plan          string          `json:"plan"`
	Namespace     string          `json:"namespace"`
	Name          string          `json:"name"`
	RecoveryPoint string          `json:"recoveryPoint"`
	Backup        recovery.Backup `json:"backup"`
	ArchiveServer string          `json:"archiveServer,omitempty"`
	Rows          string          `json:"rows"`
	// RecoveredTo is the target, or the arrival of the last WAL at the latest.
	RecoveredTo time.Time `json:"recoveredTo"`
	// RPOSeconds is the time whose changes are lost at most, RTOSeconds from the plan's beginning to
	// the proof of the rows.
	RPOSeconds int64 `json:"rpoSeconds"`
	RTOSeconds int64 `json:"rtoSeconds"`
	// Volumes are the old ones, each with the commands that bring it back and that remove it.
	Volumes []OldVolume `json:"volumes"`
	// SourceServer's archive is expired by nobody any more.
	SourceServer    string `json:"sourceServer"`
	SourceSizeBytes int64  `json:"sourceSizeBytes"`
	// Restart names what uses passwords that were made anew.
	Restart []string `json:"restart"`
}

// OldVolume is a volume of the replaced database.
type OldVolume struct {
	recovery.Volume
	BringBack []string `json:"bringBack"`
	// Remove leaves the data to the storage provider, where it is removed after that.
	Remove string `json:"remove"`
}

// Summarize makes the report out of a finished plan's data and facts.
func Summarize(planID string, p *Params, created time.Time, fact func(string) string) *Summary {
	s := &Summary{
		APIVersion: recovery.APIVersion, Kind: "RecoveryReport", Plan: planID, Namespace: p.Namespace, Name: p.cluster(),
		RecoveryPoint: p.point(), Backup: p.Backup, ArchiveServer: p.ArchiveServer, Rows: fact(factRows),
		RecoveredTo: p.TargetTime, Volumes: []OldVolume{}, SourceServer: p.SourceServer, SourceSizeBytes: p.SourceSizeBytes, Restart: []string{},
	}
	if p.OldUID == "" && !p.beside() {
		// What the Cluster owned went with it, and was made anew with other passwords.
		s.Restart = append(s.Restart, "what uses Secret "+p.Name+"-app or "+p.Name+"-superuser, where the operator made it")
	}
	if s.RecoveredTo.IsZero() {
		s.RecoveredTo = p.Reach.ArrivedAt
	}
	end := created
	if deleted, err := time.Parse(time.RFC3339, fact(factDeletedAt)); err == nil {
		end = deleted
	}
	s.RPOSeconds = max(0, int64(end.Sub(s.RecoveredTo).Seconds()))
	if proven, err := time.Parse(time.RFC3339, fact(factProvenAt)); err == nil {
		s.RTOSeconds = int64(proven.Sub(created).Seconds())
	}
	for _, volume := range p.Volumes {
		if volume.Name != "" {
			s.Volumes = append(s.Volumes, rescue(p.Namespace, volume))
		}
	}
	return s
}

func rescue(namespace string, volume recovery.Volume) OldVolume {
	bringBack, remove := volume.Rescue(namespace)
	return OldVolume{Volume: volume, BringBack: bringBack, Remove: remove}
}
