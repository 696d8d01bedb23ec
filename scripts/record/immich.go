package main

import (
	"context"

	"github.com/drctl/drctl/internal/lab"
)

// immichSchema is a small piece of Immich's own.
var immichSchema = []string{
	`create table "user" (id int primary key, email text not null, "createdAt" timestamptz not null default clock_timestamp())`,
	`create table asset (id bigserial primary key, "ownerId" int not null references "user", "originalFileName" text not null,
	 "createdAt" timestamptz not null default clock_timestamp())`,
	`insert into "user" select i, 'user' || i || '@example.org' from generate_series(1, 3) i`,
}

const (
	addAssets    = `insert into asset ("ownerId", "originalFileName") select 1 + i % 3, 'IMG_' || i || '.jpg' from generate_series(1, 500) i`
	countImmich  = `select (select count(*) from "user") || ' users, ' || (select count(*) from asset) || ' assets'`
	immichV1Name = "immich-database-v1"
	immichV2Name = "immich-database-v2"
)

// immich records the platform's lineage: v1 with a gap ahead of its newest backup, then v2, recovered
// from v1 to the end of its archive.
func (r *recorder) immich(ctx context.Context) error {
	source, err := r.immichV1(ctx)
	if err != nil {
		return err
	}
	return r.immichV2(ctx, source)
}

func (r *recorder) immichV1(ctx context.Context) (lab.BarmanServer, error) {
	target, facts := r.server("immich", immichV1Name, 16)
	pg, err := r.stack.Postgres(ctx, lab.PostgresOptions{Archive: &target})
	if err != nil {
		return target, err
	}
	if err := each(ctx, pg, "postgres", "create role immich login", "create database immich owner immich"); err != nil {
		return target, err
	}
	if err := each(ctx, pg, "immich", append(immichSchema, addAssets)...); err != nil {
		return target, err
	}
	if _, err := r.backup(ctx, pg, facts, 1); err != nil {
		return target, err
	}
	run, err := segments(ctx, pg, 4, "immich", addAssets)
	if err != nil {
		return target, err
	}
	if err := r.failedBackup(ctx, pg, facts, 1); err != nil {
		return target, err
	}
	if _, err := segments(ctx, pg, 1, "immich", addAssets); err != nil {
		return target, err
	}
	if _, err := r.backup(ctx, pg, facts, 1); err != nil {
		return target, err
	}
	if _, err := segments(ctx, pg, 3, "immich", addAssets); err != nil {
		return target, err
	}
	if err := prove(ctx, pg, facts, "immich", countImmich); err != nil {
		return target, err
	}
	if err := pg.Stop(); err != nil {
		return target, err
	}
	return target, r.gap(ctx, facts, run, ".gz")
}

func (r *recorder) immichV2(ctx context.Context, source lab.BarmanServer) error {
	target, facts := r.server("immich", immichV2Name, 16)
	pg, err := r.stack.RecoverPostgres(ctx, lab.PostgresRecovery{From: source, Archive: &target})
	if err != nil {
		return err
	}
	kept, err := r.backup(ctx, pg, facts, 2)
	if err != nil {
		return err
	}
	if err := r.keep(ctx, pg, kept); err != nil {
		return err
	}
	if _, err := segments(ctx, pg, 2, "immich", addAssets); err != nil {
		return err
	}
	if _, err := r.backup(ctx, pg, facts, 2); err != nil {
		return err
	}
	if _, err := segments(ctx, pg, 2, "immich", addAssets); err != nil {
		return err
	}
	if err := each(ctx, pg, "immich", `insert into "user" (id, email) values (4, 'user4@example.org')`); err != nil {
		return err
	}
	if err := prove(ctx, pg, facts, "immich", countImmich); err != nil {
		return err
	}
	return pg.Stop()
}
