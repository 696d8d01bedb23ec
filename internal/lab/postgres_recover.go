package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// PostgresRecovery says what to restore, how far, and where the new timeline is archived to.
type PostgresRecovery struct {
	// From is the server that is restored from.
	From BarmanServer
	// BackupID is the base backup to start with; empty for the newest.
	BackupID string
	// TargetTime and TargetName end the recovery early; without either it runs to the end of the
	// archive. A target that is never reached makes PostgreSQL fail.
	TargetTime string
	TargetName string
	// LocalWAL is the pg_wal folder of a server that crashed: what it had not archived is replayed
	// too, and its last segment gets into the archive as .partial. Empty for none.
	LocalWAL string
	// Archive is where the recovered server archives to: From again, or a new server as CloudNativePG
	// demands; nil for none.
	Archive *BarmanServer
}

// RecoverPostgres restores a base backup into a new data folder with barman-cloud-restore, lets
// PostgreSQL replay the archived WAL, and promotes it: the result takes writes on a new timeline.
func (s *Stack) RecoverPostgres(ctx context.Context, r PostgresRecovery) (*Postgres, error) {
	if err := r.From.validate(); err != nil {
		return nil, err
	}
	pg, err := s.newPostgres(r.Archive)
	if err != nil {
		return nil, err
	}
	backup, err := pg.chooseBackup(ctx, &r)
	if err != nil {
		return nil, err
	}
	if err := pg.restore(ctx, &r.From, backup); err != nil {
		return nil, err
	}
	if err := pg.copyWAL(r.LocalWAL); err != nil {
		return nil, err
	}
	if err := pg.startRecovered(ctx, &r); err != nil {
		return nil, err
	}
	return pg, nil
}

func (p *Postgres) chooseBackup(ctx context.Context, r *PostgresRecovery) (barmanBackup, error) {
	backups, err := r.From.list(ctx, p.account, p.folder)
	if err != nil {
		return barmanBackup{}, err
	}
	var chosen barmanBackup
	for _, backup := range backups {
		if backup.ID == r.BackupID || r.BackupID == "" && backup.ID > chosen.ID {
			chosen = backup
		}
	}
	if chosen.ID == "" {
		return chosen, fmt.Errorf("lab: %s/%s has no backup %q", r.From.DestinationPath, r.From.ServerName, r.BackupID)
	}
	return chosen, nil
}

// restore fetches the base backup. Tablespaces move to folders of this server: their original places
// may belong to another one that runs.
func (p *Postgres) restore(ctx context.Context, from *BarmanServer, backup barmanBackup) error {
	args := from.flags(false)
	for _, tablespace := range backup.Tablespaces {
		location, err := p.tablespaceFolder(string(tablespace))
		if err != nil {
			return err
		}
		args = append(args, "--tablespace", string(tablespace)+":"+location)
	}
	_, err := from.run(ctx, p.account, p.folder, "barman-cloud-restore",
		append(args, from.DestinationPath, from.ServerName, backup.ID, p.DataDir)...)
	return err
}

// copyWAL takes over the segments that a crashed server left without the mark .done.
func (p *Postgres) copyWAL(from string) error {
	if from == "" {
		return nil
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("lab: WAL of the crashed server: %w", err)
	}
	for _, entry := range entries {
		_, archived := os.Stat(filepath.Join(from, "archive_status", entry.Name()+".done"))
		if entry.IsDir() || archived == nil {
			continue
		}
		content, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			return fmt.Errorf("lab: WAL of the crashed server: %w", err)
		}
		target := filepath.Join(p.DataDir, "pg_wal", entry.Name())
		if err := os.WriteFile(target, content, 0o600); err != nil {
			return fmt.Errorf("lab: take over WAL: %w", err)
		}
		if err := p.account.own(target); err != nil {
			return err
		}
	}
	return nil
}

func (p *Postgres) startRecovered(ctx context.Context, r *PostgresRecovery) error {
	signal := filepath.Join(p.DataDir, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return fmt.Errorf("lab: ask for recovery: %w", err)
	}
	// barman-cloud-restore leaves the modes of the archive's root out; PostgreSQL insists on 0700.
	if err := os.Chmod(p.DataDir, 0o700); err != nil {
		return fmt.Errorf("lab: mode of the data folder: %w", err)
	}
	if err := p.account.own(signal, p.DataDir); err != nil {
		return err
	}
	settings := []string{"restore_command=" + r.From.restoreCommand(), "recovery_target_action=promote"}
	if r.TargetTime != "" {
		settings = append(settings, "recovery_target_time="+r.TargetTime)
	}
	if r.TargetName != "" {
		settings = append(settings, "recovery_target_name="+r.TargetName)
	}
	return p.start(ctx, r.From.env(), settings...)
}
