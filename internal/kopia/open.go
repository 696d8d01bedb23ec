package kopia

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/logging"
	"golang.org/x/sync/errgroup"

	"github.com/drctl/drctl/internal/recovery"
)

// Options say how a repository is opened.
type Options struct {
	// Password gives the repository's password. It is asked once, while the index is already being
	// read, and is kept in memory only.
	Password func(ctx context.Context) (string, error)
	// S3 is needed for s3:// locations only.
	S3 S3Options
	// CacheDirectory keeps index blobs and manifests, encrypted as they are in the repository, in a
	// folder with mode 0700. Empty: nothing is left on this machine.
	CacheDirectory string
	// Progress is told how many blobs were read out of how many; total grows while drctl learns what
	// there is. Calls never overlap.
	Progress func(done, total int)
	// Wrap goes between drctl and the storage. Tests and benchmarks count, delay and break with it.
	Wrap func(blob.Storage) blob.Storage
	// WrapFiles does the same with the file operations of a repository in a folder.
	WrapFiles func(fs.FS) fs.FS
}

// S3Options are the endpoint and the keys of an s3:// location.
type S3Options struct {
	// EndpointURL is http://HOST[:PORT] or https://HOST[:PORT]; empty means AWS.
	EndpointURL     string
	Region          string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	// CABundle is PEM, for an endpoint whose certificate no public authority signed.
	CABundle []byte
}

// Repository is one Kopia repository, opened for reading only. Its methods may be called from several
// goroutines; they take turns.
type Repository struct {
	location Location
	reader   *reader
	cache    *diskCache
	format   *format.Manager

	mu sync.Mutex
	// listed is true while the index was listed and fetched but not yet used.
	listed   bool
	shared   *content.SharedManager
	contents *content.WriteManager
	// manifests are the decoded manifest contents, which never change under their ID.
	manifests map[content.ID][]manifestEntry
}

// Open opens the repository and checks the password. Deriving the key from it takes a quarter of a
// second of processor time by design (scrypt); meanwhile the index is listed and fetched. Errors are
// recovery.Problems.
func Open(ctx context.Context, l Location, o Options) (*Repository, error) {
	ctx = quiet(ctx)
	backend, err := openBackend(ctx, l, o)
	if err != nil {
		return nil, openProblem(l, err)
	}
	if o.Wrap != nil {
		backend = o.Wrap(backend)
	}
	cache, err := newDiskCache(o.CacheDirectory, l)
	if err != nil {
		return nil, errors.Join(err, backend.Close(ctx))
	}
	r := &Repository{
		location: l, cache: cache, reader: newReader(backend, cache, &progress{report: o.Progress}),
		manifests: map[content.ID][]manifestEntry{},
	}
	if err := r.open(ctx, o); err != nil {
		_ = backend.Close(ctx) // the error that matters is the first one
		return nil, err
	}
	return r, nil
}

// quiet takes Kopia's log messages out of the way: whatever matters comes back as an error.
func quiet(ctx context.Context) context.Context { return logging.WithLogger(ctx, nil) }

func (r *Repository) open(ctx context.Context, o Options) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.unlock(groupCtx, o.Password) })
	group.Go(func() error {
		if err := r.fetchIndex(groupCtx, false); err != nil {
			return openProblem(r.location, err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	old, err := r.oldIndex(ctx)
	if err == nil && old {
		err = r.fetchIndex(ctx, true)
	}
	if err != nil {
		return openProblem(r.location, err)
	}
	r.listed = true
	return nil
}

// unlock reads the format blob and opens it with the password.
func (r *Repository) unlock(ctx context.Context, ask func(context.Context) (string, error)) error {
	var password string
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.readHeader(groupCtx) })
	group.Go(func() (err error) {
		password, err = askPassword(groupCtx, r.location, ask)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	manager, err := format.NewManager(ctx, r.reader, "", format.DefaultRepositoryBlobCacheDuration, password, time.Now)
	if err != nil {
		return formatProblem(r.location, err)
	}
	r.format = manager
	return r.checkFormat(ctx)
}

func askPassword(ctx context.Context, l Location, ask func(context.Context) (string, error)) (string, error) {
	const next = "set KOPIA_PASSWORD, or give --password-file"
	what := "open the Kopia repository " + l.String()
	if ask == nil {
		return "", &recovery.Problem{What: what, Why: "no password is given", Next: next, Err: recovery.ErrUsage}
	}
	password, err := ask(ctx)
	if err != nil {
		var problem *recovery.Problem
		if errors.As(err, &problem) {
			return "", err
		}
		return "", fmt.Errorf("get the password of the Kopia repository %s: %w", l, err)
	}
	if password == "" {
		return "", &recovery.Problem{What: what, Why: "the password is empty", Next: next, Err: recovery.ErrUsage}
	}
	return password, nil
}

// readHeader reads the format blob and checks what Kopia would report as a wrong password.
func (r *Repository) readHeader(ctx context.Context) error {
	var got buffer
	err := r.reader.Storage.GetBlob(ctx, format.KopiaRepositoryBlobID, 0, -1, &got)
	if errors.Is(err, blob.ErrBlobNotFound) {
		return r.noRepository(ctx)
	}
	if err != nil {
		return openProblem(r.location, err)
	}
	what := "open the Kopia repository " + r.location.String()
	header, err := format.ParseKopiaRepositoryJSON(got.content)
	if err != nil || len(header.UniqueID) == 0 || len(header.EncryptedFormatBytes) == 0 {
		return &recovery.Problem{What: what, Why: "its file " + format.KopiaRepositoryBlobID + " is damaged or cut short",
			Next: "restore that file from another copy, or run: kopia repository repair", Err: errors.Join(recovery.ErrDamaged, err)}
	}
	if header.EncryptionAlgorithm != format.DefaultFormatEncryption {
		return newerProblem(r.location, fmt.Sprintf("its settings are encrypted with %q", header.EncryptionAlgorithm), nil)
	}
	r.reader.keep(format.KopiaRepositoryBlobID, got.content)
	return nil
}

// oldIndex reports whether the repository's index is of the kind that Kopia wrote before version 0.9.
func (r *Repository) oldIndex(ctx context.Context) (bool, error) {
	parameters, err := r.format.GetMutableParameters(ctx)
	if err != nil {
		return false, fmt.Errorf("read the repository's settings: %w", err)
	}
	return !parameters.EpochParameters.Enabled, nil
}

// fetchIndex lists the index and reads what Kopia will ask for of it.
func (r *Repository) fetchIndex(ctx context.Context, old bool) error {
	var ids []blob.ID
	if old {
		for _, prefix := range []blob.ID{prefixOldIndex, prefixOldCompactions} {
			more, err := r.reader.list(ctx, prefix)
			if err != nil {
				return err
			}
			ids = append(ids, more...)
		}
		return r.reader.prefetch(ctx, ids)
	}
	ids, err := r.reader.list(ctx, prefixEpochs)
	if err != nil {
		return err
	}
	return r.reader.prefetch(ctx, likelyActive(ids))
}

// Close lets go of the storage.
func (r *Repository) Close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx = quiet(ctx)
	var err error
	if r.shared != nil {
		err = r.shared.CloseShared(ctx)
		r.shared, r.contents = nil, nil
	}
	if err := errors.Join(err, r.reader.Close(ctx)); err != nil {
		return fmt.Errorf("close the Kopia repository %s: %w", r.location, err)
	}
	return nil
}

// openBackend gives the storage of a location.
func openBackend(ctx context.Context, l Location, o Options) (blob.Storage, error) {
	switch l.Scheme {
	case SchemeFile:
		files := os.DirFS(l.Path)
		if o.WrapFiles != nil {
			files = o.WrapFiles(files)
		}
		return newFolder(files, l.String()), nil
	case SchemeS3:
		return openS3(ctx, l, o.S3)
	case SchemeNFS:
		return openNFS(ctx, l)
	}
	return nil, badLocation(l.String(), "it is no repository that drctl can reach", "")
}
