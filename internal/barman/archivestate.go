package barman

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// Empty reports whether a server (the one of o.Servers) holds neither WAL nor backups: what CloudNativePG
// demands of a server before it archives there ("Expected empty archive"). Else the string names the
// first object that was found. What the store calls a folder and nothing else does not count.
// Source: barman/clients/cloud_check_wal_archive.py; CNPG#6470, #7344.
func Empty(ctx context.Context, store Store, o Options) (bool, string, error) {
	server, err := o.oneServer()
	if err != nil {
		return false, "", err
	}
	d := newDestination(store, o)
	for _, folder := range []string{"/wals/", "/base/"} {
		q := recovery.ObjectQuery{Prefix: d.root + server + folder}
		for {
			page, err := d.list(ctx, q)
			if err != nil {
				return false, "", err
			}
			for _, object := range page.Objects {
				if !strings.HasSuffix(object.Key, "/") {
					return false, fmt.Sprintf("s3://%s/%s", d.bucket, object.Key), nil
				}
			}
			if page.NextToken == "" {
				break
			}
			q.Token = page.NextToken
		}
	}
	return true, "", nil
}

// NewestDone is the newest backup with status DONE of a server (the one of o.Servers) that ended after
// a moment; nil when there is none. A part that could not be read is an error, unless such a backup was
// found all the same.
func NewestDone(ctx context.Context, store Store, o Options, after time.Time) (*recovery.Backup, error) {
	name, err := o.oneServer()
	if err != nil {
		return nil, err
	}
	r := newDestination(store, o).readServer(ctx, name)
	server, _ := r.server()
	var newest *recovery.Backup
	for i, b := range server.Backups {
		if b.Status == statusDone && b.EndTime.After(after) && (newest == nil || !b.EndTime.Before(newest.EndTime)) {
			newest = &server.Backups[i]
		}
	}
	if gaps := r.gaps(); newest == nil && len(gaps) > 0 {
		return nil, gaps[0]
	}
	return newest, ctx.Err()
}
