package barman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// firstBytes is how much of each file is read: the mark of a tar file ends at byte 265.
const firstBytes = 512

// RangeStore is a Store that can read a part of an object.
type RangeStore interface {
	Store
	// GetRange reads length bytes from offset on, fewer at the object's end.
	GetRange(ctx context.Context, bucket, key string, offset, length int64) ([]byte, error)
}

// CheckReadable reads the first bytes of the files that a recovery needs: all data files of the backup,
// the first and the last WAL segment that make it consistent, and the last one that recovery reaches; and
// the whole of backup.info and of each .history file on the way. Some S3 servers list what they cannot
// serve. A file that does not begin as its name says is ErrDamaged.
//
// The server is the one of o.Servers; backup and reach are from ReadLineage or ReadReach.
func CheckReadable(ctx context.Context, store RangeStore, o Options, backup recovery.Backup, reach Reach) error {
	d, folder, err := openBackup(store, o, backup.ID)
	if err != nil {
		return err
	}
	objects, err := d.neededFiles(ctx, o.Servers[0], folder, backup, reach)
	if err != nil {
		return err
	}
	errs := make([]error, len(objects))
	var all sync.WaitGroup
	for i, object := range objects {
		all.Go(func() { errs[i] = d.checkBeginning(ctx, store, object) })
	}
	all.Wait()
	return unreadableFiles(errs)
}

// Probe does once what a recovery does with every file of a backup: it lists the backup's folder, and reads the
// beginning of what it finds. It is for keys that nothing else was read with.
func Probe(ctx context.Context, store RangeStore, o Options, backupID string) error {
	d, folder, err := openBackup(store, o, backupID)
	if err != nil {
		return err
	}
	page, err := d.listAll(ctx, recovery.ObjectQuery{Prefix: folder})
	if err != nil {
		return err
	}
	if len(page.Objects) == 0 {
		return &recovery.Problem{
			What: "read the backup " + backupID, Why: fmt.Sprintf("there is nothing under s3://%s/%s", d.bucket, folder),
			Next: "list again: drctl cnpg backups", Err: recovery.ErrNotFound,
		}
	}
	return d.checkBeginning(ctx, store, page.Objects[0])
}

// neededFiles are the objects of the backup, and of the WAL that it needs.
func (d *destination) neededFiles(ctx context.Context, server, folder string, backup recovery.Backup, reach Reach) ([]recovery.Object, error) {
	page, err := d.listAll(ctx, recovery.ObjectQuery{Prefix: folder})
	if err != nil {
		return nil, err
	}
	objects := slices.DeleteFunc(page.Objects, func(o recovery.Object) bool {
		name := strings.TrimPrefix(o.Key, folder)
		return name != "backup.info" && !strings.Contains(name, ".tar")
	})
	if !slices.ContainsFunc(objects, func(o recovery.Object) bool { return strings.Contains(o.Key, ".tar") }) {
		return nil, &recovery.Problem{
			What: "read the backup " + backup.ID, Why: fmt.Sprintf("there are no data files under s3://%s/%s", d.bucket, folder),
			Next: "choose another backup: `drctl cnpg backups` lists them", Err: recovery.ErrNotFound,
		}
	}
	files := []string{backup.BeginWAL, backup.EndWAL, reach.Segment}
	for _, timeline := range reach.histories {
		files = append(files, historyName(timeline))
	}
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		object, err := d.findWAL(ctx, server, file)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// checkBeginning reads the beginning of a file, or the whole of the two kinds of text.
func (d *destination) checkBeginning(ctx context.Context, store RangeStore, object recovery.Object) error {
	base := object.Key[strings.LastIndexByte(object.Key, '/')+1:]
	if base == "backup.info" {
		_, err := d.readInfo(ctx, object.Key)
		return err
	}
	if name, ok := ParseWALName(base); ok && name.Kind == History {
		_, err := d.readHistory(ctx, object.Key)
		return err
	}
	if err := d.enter(ctx); err != nil {
		return err
	}
	defer d.leave()
	start, err := store.GetRange(ctx, d.bucket, object.Key, 0, firstBytes)
	if err != nil {
		return err
	}
	if why := wrongBeginning(object, start); why != "" {
		return &recovery.Problem{
			What: fmt.Sprintf("read s3://%s/%s", d.bucket, object.Key), Why: why,
			Next: "choose another backup with --backup-id: `drctl cnpg backups` lists them", Err: recovery.ErrDamaged,
		}
	}
	return nil
}

// wrongBeginning says what is wrong with the first bytes of a file; empty when nothing is.
func wrongBeginning(object recovery.Object, start []byte) string {
	if int64(len(start)) < min(firstBytes, object.SizeBytes) {
		return fmt.Sprintf("the store lists %d bytes and gives only %d", object.SizeBytes, len(start))
	}
	if len(start) == 0 {
		return "it is empty (0 bytes)"
	}
	name := object.Key[strings.LastIndexByte(object.Key, '/')+1:]
	if magic, known := magicOf(name); known {
		if !bytes.HasPrefix(start, []byte(magic)) {
			return "it does not begin as its suffix says: the file is damaged, or not what it claims"
		}
		return ""
	}
	switch {
	case strings.HasSuffix(name, ".tar") && (len(start) < 262 || string(start[257:262]) != "ustar"):
		return "it does not begin as a tar file does"
	case len(name) == 24 && start[1] != walMagicHigh:
		return "it does not begin as a WAL segment does"
	}
	return ""
}

// magicOf gives the first bytes of a compressed file by its suffix.
// Source: barman/clients/cloud_compression.py; Barman 3.12 adds lz4, zstd and xz.
func magicOf(name string) (magic string, known bool) {
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "gz":
		return "\x1f\x8b", true
	case "bz2":
		return "BZh", true
	case "snappy":
		return "\xff\x06\x00\x00sNaPpY", true
	case "lz4":
		return "\x04\x22\x4d\x18", true
	case "zst":
		return "\x28\xb5\x2f\xfd", true
	case "xz":
		return "\xfd7zXZ\x00", true
	}
	return "", false
}

// unreadableFiles joins what is wrong with several files into the first one's problem.
func unreadableFiles(errs []error) error {
	var bad []error
	for _, err := range errs {
		if err != nil {
			bad = append(bad, err)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	var p *recovery.Problem
	if len(bad) == 1 || !errors.As(bad[0], &p) {
		return bad[0]
	}
	one := *p
	one.Why = fmt.Sprintf("%s (and %d more of the %d files that the recovery needs cannot be read)", p.Cause(), len(bad)-1, len(errs))
	return &one
}
