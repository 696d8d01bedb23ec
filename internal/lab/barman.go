package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// BarmanServer is one server of a Barman destination in S3, as the barman-cloud commands take it.
type BarmanServer struct {
	EndpointURL     string
	AccessKeyID     string
	SecretAccessKey string
	// DestinationPath is s3://BUCKET/PATH, without the server's name.
	DestinationPath string
	ServerName      string
	// Compression of WAL and data files: gzip, bzip2, or empty for none.
	Compression string
}

// Barman describes a server in this MinIO, with gzip for WAL and data as the platform has it.
func (m *MinIO) Barman(destination, server string) BarmanServer {
	return BarmanServer{
		EndpointURL: m.EndpointURL, AccessKeyID: m.AccessKeyID, SecretAccessKey: m.SecretAccessKey,
		DestinationPath: destination, ServerName: server, Compression: "gzip",
	}
}

func (b *BarmanServer) validate() error {
	if !slices.Contains([]string{"", "gzip", "bzip2"}, b.Compression) {
		return fmt.Errorf("lab: Barman cannot write compression %q here (gzip, bzip2 or none; "+
			"snappy fails with the python3-snappy of Debian 12: PY_SSIZE_T_CLEAN)", b.Compression)
	}
	if !strings.HasPrefix(b.DestinationPath, "s3://") || b.ServerName == "" {
		return fmt.Errorf("lab: not a Barman server: destination %q, server %q", b.DestinationPath, b.ServerName)
	}
	return nil
}

func (b *BarmanServer) env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + b.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + b.SecretAccessKey,
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// flags are those of the endpoint, and of the compression when something is written.
func (b *BarmanServer) flags(writes bool) []string {
	flags := []string{"--endpoint-url", b.EndpointURL}
	if writes && b.Compression != "" {
		flags = append(flags, "--"+b.Compression)
	}
	return flags
}

// archiveCommand is PostgreSQL's archive_command.
func (b *BarmanServer) archiveCommand() string {
	return strings.Join(append([]string{"barman-cloud-wal-archive"}, append(b.flags(true), b.DestinationPath, b.ServerName, "%p")...), " ")
}

// restoreCommand is PostgreSQL's restore_command.
func (b *BarmanServer) restoreCommand() string {
	return strings.Join(append([]string{"barman-cloud-wal-restore"}, append(b.flags(false), b.DestinationPath, b.ServerName, "%f", "%p")...), " ")
}

// missingBarman names the Debian package with the barman-cloud commands where it is not installed.
func missingBarman() []string {
	if _, err := exec.LookPath("barman-cloud-backup"); err != nil {
		return []string{"barman-cli-cloud"}
	}
	return nil
}

// BarmanList is what barman-cloud-backup-list says about one server, as JSON: the peer of drctl's own
// catalog.
func (s *Stack) BarmanList(ctx context.Context, m *MinIO, destination, server string) ([]byte, error) {
	if missing := missingBarman(); len(missing) > 0 {
		return nil, missingPackages(missing)
	}
	dir, err := s.Dir("barman")
	if err != nil {
		return nil, err
	}
	b := m.Barman(destination, server)
	return b.run(ctx, &postgresAccount{}, dir, "barman-cloud-backup-list", append(b.flags(false), "--format", "json", destination, server)...)
}

// BarmanKeep puts a keep mark (full or standalone) on a backup.
func (s *Stack) BarmanKeep(ctx context.Context, b BarmanServer, backupID, target string) error {
	if missing := missingBarman(); len(missing) > 0 {
		return missingPackages(missing)
	}
	dir, err := s.Dir("barman")
	if err != nil {
		return err
	}
	_, err = b.run(ctx, &postgresAccount{}, dir, "barman-cloud-backup-keep",
		append(b.flags(false), "--target", target, b.DestinationPath, b.ServerName, backupID)...)
	return err
}

// BarmanKeepStatus is what barman-cloud-backup-keep says of a backup: "Keep: full", "Keep: nokeep".
func (s *Stack) BarmanKeepStatus(ctx context.Context, b BarmanServer, backupID string) (string, error) {
	if missing := missingBarman(); len(missing) > 0 {
		return "", missingPackages(missing)
	}
	dir, err := s.Dir("barman")
	if err != nil {
		return "", err
	}
	out, err := b.run(ctx, &postgresAccount{}, dir, "barman-cloud-backup-keep", append(b.flags(false), "--status", b.DestinationPath, b.ServerName, backupID)...)
	return strings.TrimSpace(string(out)), err
}

func (b *BarmanServer) run(ctx context.Context, account *postgresAccount, dir, program string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, missingPackages([]string{"barman-cli-cloud"})
	}
	out, err := account.run(ctx, dir, b.env(), path, args...)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return out, nil
}

// Backup takes a base backup through barman-cloud-backup and gives its ID. The name may be empty.
func (p *Postgres) Backup(ctx context.Context, name string) (string, error) {
	if p.Archive == nil {
		return "", fmt.Errorf("lab: this PostgreSQL has no archive to back up to")
	}
	args := append(p.Archive.flags(true), "--immediate-checkpoint", "--host", p.folder, "--port", strconv.Itoa(p.Port), "--user", "postgres")
	if name != "" {
		args = append(args, "--name", name)
	}
	_, err := p.Archive.run(ctx, p.account, p.folder, "barman-cloud-backup", append(args, p.Archive.DestinationPath, p.Archive.ServerName)...)
	if err != nil {
		return "", err
	}
	return p.newestBackup(ctx)
}

// FailedBackup has a base backup fail half way, as one fails in the field: a file of the data folder
// cannot be read. Barman leaves it in the catalog with status FAILED.
func (p *Postgres) FailedBackup(ctx context.Context, name string) (string, error) {
	unreadable := filepath.Join(p.DataDir, "base", "1", "unreadable")
	if err := os.WriteFile(unreadable, []byte("x"), 0o000); err != nil {
		return "", fmt.Errorf("lab: prepare a backup that fails: %w", err)
	}
	defer func() { _ = os.Remove(unreadable) }()
	if id, err := p.Backup(ctx, name); err == nil {
		return "", fmt.Errorf("lab: backup %s was to fail and did not", id)
	}
	return p.newestBackup(ctx)
}

func (p *Postgres) newestBackup(ctx context.Context) (string, error) {
	backups, err := p.Archive.list(ctx, p.account, p.folder)
	if err != nil {
		return "", err
	}
	newest := ""
	for _, backup := range backups {
		newest = max(newest, backup.ID)
	}
	if newest == "" {
		return "", fmt.Errorf("lab: no backup of %s arrived", p.Archive.ServerName)
	}
	return newest, nil
}

type barmanBackup struct {
	ID          string             `json:"backup_id"`
	Tablespaces []barmanTablespace `json:"tablespaces"`
}

// barmanTablespace is the name in Barman's [name, oid, location].
type barmanTablespace string

func (t *barmanTablespace) UnmarshalJSON(text []byte) error {
	var triple []any
	if err := json.Unmarshal(text, &triple); err != nil {
		return err
	}
	if len(triple) > 0 {
		name, _ := triple[0].(string)
		*t = barmanTablespace(name)
	}
	return nil
}

func (b *BarmanServer) list(ctx context.Context, account *postgresAccount, dir string) ([]barmanBackup, error) {
	out, err := b.run(ctx, account, dir, "barman-cloud-backup-list", append(b.flags(false), "--format", "json", b.DestinationPath, b.ServerName)...)
	if err != nil {
		return nil, err
	}
	var catalog struct {
		Backups []barmanBackup `json:"backups_list"`
	}
	if err := json.Unmarshal(out, &catalog); err != nil {
		return nil, fmt.Errorf("lab: read what barman-cloud-backup-list says of %s: %w", b.ServerName, err)
	}
	return catalog.Backups, nil
}
