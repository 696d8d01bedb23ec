package app

import (
	"context"
	"errors"
	"time"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/s3"
)

// flipArchive is Barman's catalog as the flip needs it.
type flipArchive struct{ app *App }

// open gives the store of a place, narrowed to its server.
func (f flipArchive) open(ctx context.Context, place flip.Place) (*s3.Client, barman.Options, error) {
	bucket, prefix, err := destination(place.Store.DestinationPath)
	if err != nil {
		return nil, barman.Options{}, err
	}
	client, err := f.app.s3Client(ctx, place.Namespace, place.Store)
	return client, barman.Options{Bucket: bucket, Prefix: prefix, Servers: []string{place.Server}}, err
}

// Choose reads the lineage once, picks the backup, and looks into the last WAL segments and, where that
// is asked, at the beginning of every file.
func (f flipArchive) Choose(ctx context.Context, place flip.Place, q flip.BackupChoice) (flip.Chosen, recovery.Gaps, error) {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return flip.Chosen{}, nil, err
	}
	if q.Readable && !f.app.settings.Offline {
		err := credentialsThere(place, func(key recovery.SecretKey) (string, error) { return f.app.secretKey(ctx, place.Namespace, key) })
		if err != nil {
			return flip.Chosen{}, nil, err
		}
	}
	whole := o
	whole.Servers = nil
	lineage, gaps, err := barman.ReadLineage(ctx, client, whole)
	if err != nil {
		return flip.Chosen{}, gaps, err
	}
	choice, reach, err := lineage.Choose(barman.ChooseOptions{Server: place.Server, BackupID: q.BackupID, TargetTime: q.TargetTime})
	if err != nil {
		return flip.Chosen{}, gaps, err
	}
	if err := acceptGap(place.Server, reach, q); err != nil {
		return flip.Chosen{}, gaps, err
	}
	chosen := flip.Chosen{Backup: choice.Backup, Warnings: choice.Warnings, Servers: lineage.Servers}
	reach.Tail, err = barman.ReadTail(ctx, client, o, choice.Backup, reach)
	switch {
	case errors.Is(err, recovery.ErrUnsupported):
		chosen.Warnings = append(chosen.Warnings, "the last WAL segments could not be looked into: "+err.Error())
	case err != nil:
		return chosen, gaps, err
	}
	if err := reach.Admits(q.TargetTime); err != nil {
		return chosen, gaps, err
	}
	if q.Readable {
		if err := barman.CheckReadable(ctx, client, o, choice.Backup, reach); err != nil {
			return chosen, gaps, err
		}
		if err := f.credentialsWork(ctx, place, o, choice.Backup.ID); err != nil {
			return chosen, gaps, err
		}
	}
	chosen.Reach = reachOf(reach)
	return chosen, gaps, nil
}

// credentialsThere looks for the keys that the recovery Job itself will use. drctl may read S3 with the
// operator's own keys: without this it would delete a database that nothing in the cluster can recover.
func credentialsThere(place flip.Place, read func(recovery.SecretKey) (string, error)) error {
	for _, key := range []recovery.SecretKey{place.Store.AccessKeyID, place.Store.SecretAccessKey} {
		if key.Name == "" {
			continue
		}
		if value, err := read(key); err != nil || value == "" {
			return &recovery.Problem{
				What: "find the S3 keys that the recovery in the cluster will use", Why: "key " + key.Key + " of Secret " + place.Namespace + "/" + key.Name + " is missing or cannot be read",
				Next: "create that Secret first: kubectl -n " + place.Namespace + " get secret " + key.Name, Err: errors.Join(recovery.ErrNotFound, err),
			}
		}
	}
	return nil
}

// credentialsWork reads with the keys that the recovery Job will use, where drctl has read with others until here.
func (f flipArchive) credentialsWork(ctx context.Context, place flip.Place, o barman.Options, backupID string) error {
	if f.app.settings.Offline || !f.app.hasOwnKeys() || place.Store.AccessKeyID.Name == "" {
		return nil
	}
	client, err := f.app.s3ClientWith(ctx, place.Namespace, place.Store, true)
	if err == nil {
		err = barman.Probe(ctx, client, o, backupID)
	}
	if !errors.Is(err, recovery.ErrDenied) && !errors.Is(err, recovery.ErrUsage) {
		return err
	}
	secret := place.Namespace + "/" + place.Store.AccessKeyID.Name
	return &recovery.Problem{
		What: "read the backup with the S3 keys of Secret " + secret + ", which the recovery in the cluster will use", Why: reason(err),
		Next: "correct the keys in Secret " + secret + ", or what they may do; your own keys, from AWS_ACCESS_KEY_ID, do work", Err: err,
	}
}

// acceptGap: to the latest, PostgreSQL stops at a gap without any error, and what is behind is lost.
func acceptGap(server string, reach barman.Reach, q flip.BackupChoice) error {
	if reach.Gap == nil || q.AcceptGap || !q.TargetTime.IsZero() {
		return nil
	}
	return &recovery.Problem{
		What: "recover everything that " + server + " holds",
		Why:  "WAL is missing behind " + reach.Gap.After + ": PostgreSQL would stop there without any error, and what is behind is lost",
		Next: "choose a backup behind the gap with --backup-id (drctl cnpg backups), or say --accept-wal-gap", Err: recovery.ErrDamaged,
	}
}

func reachOf(r barman.Reach) recovery.Reach {
	reach := recovery.Reach{
		Timeline: int64(r.Timeline), Segment: r.Segment, EndLSN: uint64(r.EndLSN), ArrivedAt: r.ArrivedAt,
		SegmentSizeBytes: int64(r.SegmentSize), Gap: r.Gap,
	}
	if r.Tail != nil {
		reach.RecordsEndLSN = uint64(r.Tail.RecordsEnd)
	}
	return reach
}

// Judge reads the fork of a timeline.
func (flipArchive) Judge(reach recovery.Reach, target time.Time, history string) (flip.Result, string) {
	fork, reason, err := barman.LastFork([]byte(history))
	if err != nil {
		return flip.Unknown, err.Error()
	}
	expected := barman.Reach{
		Timeline: uint32(reach.Timeline), Segment: reach.Segment, EndLSN: barman.LSN(reach.EndLSN), SegmentSize: barman.SegmentSize(reach.SegmentSizeBytes),
	}
	if reach.RecordsEndLSN > 0 {
		expected.Tail = &barman.Tail{RecordsEnd: barman.LSN(reach.RecordsEndLSN)}
	}
	verdict, why := barman.JudgeFork(expected, target, fork, reason)
	switch verdict {
	case barman.ForkReached:
		return flip.Proven, why
	case barman.ForkedEarly, barman.ForkedElsewhere:
		return flip.Disproved, why
	}
	return flip.Unknown, why
}

// Empty reports whether a server holds nothing.
func (f flipArchive) Empty(ctx context.Context, place flip.Place) (bool, string, error) {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return false, "", err
	}
	return barman.Empty(ctx, client, o)
}

// Kept reports whether a backup carries the mark that keeps it and all WAL from it on.
func (f flipArchive) Kept(ctx context.Context, place flip.Place, backupID string) (bool, error) {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return false, err
	}
	mark, err := barman.ReadKeep(ctx, client, o, backupID)
	return mark == barman.KeepFull, err
}

// Keep marks a backup.
func (f flipArchive) Keep(ctx context.Context, place flip.Place, backupID string) error {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return err
	}
	_, err = barman.Keep(ctx, client, o, backupID, barman.KeepFull)
	return err
}

// Unkeep takes the mark away.
func (f flipArchive) Unkeep(ctx context.Context, place flip.Place, backupID string) error {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return err
	}
	return barman.Unkeep(ctx, client, o, backupID, barman.KeepFull)
}

// NewestDone is the newest finished backup of a server.
func (f flipArchive) NewestDone(ctx context.Context, place flip.Place) (*recovery.Backup, error) {
	client, o, err := f.open(ctx, place)
	if err != nil {
		return nil, err
	}
	return barman.NewestDone(ctx, client, o, time.Time{})
}
