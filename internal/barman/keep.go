package barman

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// KeepFull keeps a backup and all WAL from it on; KeepStandalone only the WAL that makes it consistent.
// Source: barman/annotations.py, KeepManager.
const (
	KeepFull       = "full"
	KeepStandalone = "standalone"
)

// Writer is an object store that can be written to. Its errors are recovery.Problems.
type Writer interface {
	// Put writes a small object, over what may be there.
	Put(ctx context.Context, bucket, key string, body []byte) error
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, bucket, key string) error
}

// ReadWriter is what everything here needs of a store.
type ReadWriter interface {
	RangeStore
	Writer
}

// ReadKeep gives the keep mark of a backup of the one server of o.Servers; empty when it has none.
func ReadKeep(ctx context.Context, store Store, o Options, backupID string) (string, error) {
	d, folder, err := openBackup(store, o, backupID)
	if err != nil {
		return "", err
	}
	return d.keepMark(ctx, folder)
}

// Keep marks a backup of the one server of o.Servers, so that retention removes neither it nor its WAL.
// already is true when that very mark was there. Another mark is somebody else's decision: a Problem,
// and it stays.
//
// Retention may remove the backup at the same moment, so the backup is looked for before the mark is
// written and after; a mark without a backup is taken back, and the answer is ErrNotFound.
func Keep(ctx context.Context, store ReadWriter, o Options, backupID, target string) (already bool, err error) {
	d, folder, err := openBackup(store, o, backupID)
	if err != nil {
		return false, err
	}
	mark, err := d.keepMark(ctx, folder)
	if err != nil || mark == target {
		return mark == target, err
	}
	if mark != "" {
		return false, &recovery.Problem{
			What: "keep backup " + backupID, Why: fmt.Sprintf("it is marked already, as %q, which does not keep the same WAL", mark),
			Next: "release that mark first, with barman-cloud-backup-keep --release", Err: recovery.ErrConflict,
		}
	}
	if _, err := d.get(ctx, folder+"backup.info", maxInfoBytes); err != nil {
		return false, err
	}
	if err := store.Put(ctx, d.bucket, folder+keepFile, []byte(target)); err != nil {
		return false, err
	}
	if _, err := d.get(ctx, folder+"backup.info", maxInfoBytes); errors.Is(err, recovery.ErrNotFound) {
		return false, errors.Join(err, store.Delete(ctx, d.bucket, folder+keepFile))
	} else if err != nil {
		return false, err
	}
	mark, err = d.keepMark(ctx, folder)
	if err == nil && mark != target {
		err = &recovery.Problem{
			What: "keep backup " + backupID, Why: fmt.Sprintf("the mark was written as %q and reads as %q", target, mark),
			Next: "see who else writes to the bucket, and try again", Err: recovery.ErrConflict,
		}
	}
	return false, err
}

// Unkeep removes the mark of that value. Without any there is nothing to do; another one stays, and is
// a Problem.
func Unkeep(ctx context.Context, store ReadWriter, o Options, backupID, target string) error {
	d, folder, err := openBackup(store, o, backupID)
	if err != nil {
		return err
	}
	mark, err := d.keepMark(ctx, folder)
	switch {
	case err != nil || mark == "":
		return err
	case mark != target:
		return &recovery.Problem{
			What: "release backup " + backupID, Why: fmt.Sprintf("its mark is %q, not the %q that drctl wrote: somebody else keeps it", mark, target),
			Next: "leave it, or release it with barman-cloud-backup-keep --release", Err: recovery.ErrConflict,
		}
	}
	return store.Delete(ctx, d.bucket, folder+keepFile)
}

// keepFile is the mark's place below a backup's folder. Source: barman/annotations.py,
// AnnotationManagerCloud.
const keepFile = "annotations/keep"

// openBackup gives the key of a backup's folder, with its slash.
func openBackup(store Store, o Options, backupID string) (*destination, string, error) {
	server, err := o.oneServer()
	if err != nil {
		return nil, "", err
	}
	if !isBackupID(backupID) {
		return nil, "", fmt.Errorf("%q is no backup ID: %w", backupID, recovery.ErrUsage)
	}
	d := newDestination(store, o)
	return d, d.root + server + "/base/" + backupID + "/", nil
}

// keepMark is empty when there is none.
func (d *destination) keepMark(ctx context.Context, folder string) (string, error) {
	body, err := d.get(ctx, folder+keepFile, maxKeepBytes)
	if errors.Is(err, recovery.ErrNotFound) {
		return "", nil
	}
	return strings.TrimSpace(string(body)), err
}
