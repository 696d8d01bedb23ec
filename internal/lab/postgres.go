package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PostgresOptions say what kind of PostgreSQL to start.
type PostgresOptions struct {
	// Archive is where its WAL and base backups go; nil for a server that archives nothing.
	Archive *BarmanServer
	// SegmentSizeMiB is the size of a WAL segment, a power of two from 1 to 1024; 0 means 16.
	SegmentSizeMiB int
	// Tablespaces are created at the start, each in a folder of its own.
	Tablespaces []string
}

// Postgres is a running PostgreSQL server. It listens on 127.0.0.1 and on a Unix socket, and trusts
// whoever connects there.
type Postgres struct {
	Host    string
	Port    int
	DataDir string
	// Archive is where its WAL and base backups go; nil for a server that archives nothing.
	Archive *BarmanServer
	Process *Process

	stack   *Stack
	account *postgresAccount
	folder  string
}

// Postgres makes a database cluster and starts PostgreSQL on it, as an unprivileged user when we are
// root. It fails, naming the Debian packages, where PostgreSQL or Barman is not installed.
func (s *Stack) Postgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	pg, err := s.newPostgres(o.Archive)
	if err != nil {
		return nil, err
	}
	segment := o.SegmentSizeMiB
	if segment == 0 {
		segment = 16
	}
	_, err = pg.account.run(ctx, pg.folder, nil, pg.account.program("initdb"), "--pgdata", pg.DataDir, "--username", "postgres",
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--wal-segsize", strconv.Itoa(segment))
	if err != nil {
		return nil, fmt.Errorf("lab: make a database cluster: %w", err)
	}
	if err := pg.start(ctx, nil); err != nil {
		return nil, err
	}
	return pg, pg.makeTablespaces(ctx, o.Tablespaces)
}

// newPostgres makes the folder of a server, which is removed at Close. It is not below the stack's
// own: the unprivileged user must be able to reach it, and the path of a Unix socket must be short.
func (s *Stack) newPostgres(archive *BarmanServer) (*Postgres, error) {
	account, err := findPostgres()
	if err != nil {
		return nil, err
	}
	if archive != nil {
		if err := archive.validate(); err != nil {
			return nil, err
		}
	}
	folder, err := os.MkdirTemp("", "drctl-postgres-")
	if err != nil {
		return nil, fmt.Errorf("lab: folder of PostgreSQL: %w", err)
	}
	s.Defer(func() error { return os.RemoveAll(folder) })
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	pg := &Postgres{
		Host: "127.0.0.1", Port: port, DataDir: filepath.Join(folder, "pgdata"), Archive: archive,
		stack: s, account: account, folder: folder,
	}
	return pg, account.own(folder)
}

// start starts the server. What belongs to this run only (ports, archiving) is given on the command
// line, so that base backups do not carry it along.
func (p *Postgres) start(ctx context.Context, env []string, settings ...string) error {
	settings = append([]string{
		"port=" + strconv.Itoa(p.Port), "listen_addresses=" + p.Host, "unix_socket_directories=" + p.folder,
		"fsync=off", "shared_buffers=16MB", "checkpoint_timeout=1h", "autovacuum=off", "timezone=UTC", "log_timezone=UTC",
	}, settings...)
	if p.Archive != nil {
		settings = append(settings, "archive_mode=on", "archive_command="+p.Archive.archiveCommand())
		env = append(env, p.Archive.env()...)
	}
	args := []string{"-D", p.DataDir}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	process, err := p.stack.Start(ctx, Command{
		Name: "postgres-" + strconv.Itoa(p.Port), Path: p.account.program("postgres"), Args: args, Env: env, Dir: p.folder,
		Credential: p.account.credential, Ready: p.ready, ReadyTimeout: 3 * time.Minute,
	})
	p.Process = process
	if process != nil {
		p.stack.Defer(p.Stop)
	}
	return err
}

// ready waits until the server takes writes: one in recovery is not ready before it is promoted.
func (p *Postgres) ready(ctx context.Context) error {
	recovering, err := p.Exec(ctx, "postgres", "select pg_is_in_recovery()")
	if err == nil && recovering != "f" {
		return errors.New("still in recovery")
	}
	return err
}

// Exec runs SQL as the superuser, in one transaction, and gives the rows: one a line, columns
// separated by "|".
func (p *Postgres) Exec(ctx context.Context, database, sql string) (string, error) {
	out, err := p.account.run(ctx, p.folder, nil, p.account.program("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
		"--set", "ON_ERROR_STOP=1", "--host", p.folder, "--port", strconv.Itoa(p.Port), "--username", "postgres",
		"--dbname", database, "--command", sql)
	if err != nil {
		return "", fmt.Errorf("lab: SQL in %s: %w", database, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// SwitchWAL closes the present WAL segment, waits until it is archived, and gives its name.
func (p *Postgres) SwitchWAL(ctx context.Context) (string, error) {
	segment, err := p.Exec(ctx, "postgres", "select pg_walfile_name(pg_switch_wal())")
	if err != nil {
		return "", err
	}
	return segment, p.WaitArchived(ctx, segment)
}

// WaitArchived waits until a WAL file (a segment, a .history, a .partial) is archived.
func (p *Postgres) WaitArchived(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		waiting, err := p.Exec(ctx, "postgres", "select count(*) from pg_ls_archive_statusdir() where name = '"+name+".ready'")
		if err != nil {
			return fmt.Errorf("lab: wait for %s in the archive: %w\n%s", name, err, tail(p.Process.LogPath()))
		}
		if waiting == "0" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: %s is not archived: %w\n%s", name, ctx.Err(), tail(p.Process.LogPath()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the server in good order (a fast shutdown), its last segment archived. It may be called
// twice.
func (p *Postgres) Stop() error { return p.Process.end(syscall.SIGINT) }

// Restart stops the server and starts it again, with what Archive says now.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Stop(); err != nil {
		return err
	}
	return p.start(ctx, nil)
}

// Kill ends the server as a crash would.
func (p *Postgres) Kill() error { return p.Process.Kill() }

func (p *Postgres) makeTablespaces(ctx context.Context, names []string) error {
	for _, name := range names {
		location, err := p.tablespaceFolder(name)
		if err != nil {
			return err
		}
		if _, err := p.Exec(ctx, "postgres", fmt.Sprintf("create tablespace %q location '%s'", name, location)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Postgres) tablespaceFolder(name string) (string, error) {
	location := filepath.Join(p.folder, "tablespaces", name)
	if err := os.MkdirAll(location, 0o700); err != nil {
		return "", fmt.Errorf("lab: folder of tablespace %s: %w", name, err)
	}
	return location, p.account.own(filepath.Dir(location), location)
}
