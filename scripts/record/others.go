package main

import (
	"context"
	"path"

	"github.com/drctl/drctl/internal/lab"
)

// forgejo records a server with two tablespaces, for the Cluster that uses the barman-cloud plugin.
func (r *recorder) forgejo(ctx context.Context) error {
	target, facts := r.server("forgejo", "forgejo-database-v1", 16)
	pg, err := r.stack.Postgres(ctx, lab.PostgresOptions{Archive: &target, Tablespaces: []string{"fast", "attachments"}})
	if err != nil {
		return err
	}
	if err := each(ctx, pg, "postgres", "create role forgejo login", "create database forgejo owner forgejo"); err != nil {
		return err
	}
	err = each(ctx, pg, "forgejo",
		"create table repository (id bigserial primary key, name text not null) tablespace fast",
		"create table attachment (id bigserial primary key, repository bigint references repository, name text) tablespace attachments",
		"insert into repository (name) select 'repository-' || i from generate_series(1, 40) i",
		"insert into attachment (repository, name) select i, 'attachment-' || i from generate_series(1, 40) i")
	if err != nil {
		return err
	}
	const add = "insert into repository (name) select 'later-' || i from generate_series(1, 10) i"
	for range 2 {
		if _, err := r.backup(ctx, pg, facts, 1); err != nil {
			return err
		}
		if _, err := segments(ctx, pg, 2, "forgejo", add); err != nil {
			return err
		}
	}
	if err := prove(ctx, pg, facts, "forgejo", "select count(*) from repository"); err != nil {
		return err
	}
	return pg.Stop()
}

// wiki records one server whose backups differ in compression: bzip2, none, snappy;
// its WAL begins with gzip.
func (r *recorder) wiki(ctx context.Context) error {
	target, facts := r.server("wiki", "wiki-database", 16)
	pg, err := r.stack.Postgres(ctx, lab.PostgresOptions{Archive: &target})
	if err != nil {
		return err
	}
	// One database instead of three, and the first WAL with gzip: what bzip2 wrote cannot be packed any
	// smaller.
	err = each(ctx, pg, "postgres", "update pg_database set datistemplate = false", "drop database template0", "drop database template1",
		"create table page (id bigserial primary key, title text)")
	if err != nil {
		return err
	}
	for _, compression := range []string{"bzip2", "", "snappy"} {
		if err := r.wikiBackup(ctx, pg, facts, compression); err != nil {
			return err
		}
	}
	if err := prove(ctx, pg, facts, "postgres", "select count(*) from page"); err != nil {
		return err
	}
	return pg.Stop()
}

func (r *recorder) wikiBackup(ctx context.Context, pg *lab.Postgres, facts *lab.RecordedServer, compression string) error {
	if compression == "snappy" {
		pg.Archive.Compression = ""
	} else {
		pg.Archive.Compression = compression
	}
	if err := pg.Restart(ctx); err != nil {
		return err
	}
	backup, err := r.backup(ctx, pg, facts, 1)
	if err != nil {
		return err
	}
	if backup.Compression = compression; compression == "snappy" {
		r.snappyBackups = append(r.snappyBackups, path.Join(facts.Destination, facts.Server, "base", backup.ID))
	}
	_, err = segments(ctx, pg, 1, "postgres", "insert into page (title) select 'page ' || i from generate_series(1, 20) i")
	return err
}
