package nfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/readonly"
	"github.com/kopia/kopia/repo/blob/sharded"
)

// StorageType is the type in ConnectionInfo. Kopia itself knows no such provider.
const StorageType = "nfs"

// storage serves the blobs of one folder. Every write fails with readonly.ErrReadonly.
type storage struct {
	options Options
	tree    *tree

	mu     sync.Mutex
	layout *sharded.Parameters
}

func newStorage(o Options, t *tree) *storage { return &storage{options: o, tree: t} }

// Operations counts the calls that were sent to the server so far, those of New included.
func (s *storage) Operations() int64 { return s.tree.operations.Load() }

// GetBlob reads a blob, or length bytes of it from offset on when length is not negative.
func (s *storage) GetBlob(ctx context.Context, id blob.ID, offset, length int64, output blob.OutputBuffer) error {
	output.Reset()
	if length >= 0 && offset < 0 {
		return fmt.Errorf("read blob %s at %d: %w", id, offset, blob.ErrInvalidRange)
	}
	p, err := s.path(ctx, id)
	if err != nil {
		return err
	}
	parts, err := s.readFile(ctx, p, offset, length)
	if err != nil {
		return s.explain(ctx, "read", p, err)
	}
	for _, part := range parts {
		if _, err := output.Write(part); err != nil {
			return fmt.Errorf("keep blob %s: %w", id, err)
		}
	}
	return nil
}

func (s *storage) readFile(ctx context.Context, p string, offset, length int64) ([][]byte, error) {
	var parts [][]byte
	err := s.tree.onHandle(ctx, p, func(handle []byte) (err error) {
		if length < 0 {
			parts, err = s.tree.readWhole(ctx, handle)
		} else {
			parts, err = s.tree.readRange(ctx, handle, offset, length)
		}
		return s.tree.withOwner(ctx, handle, err)
	})
	return parts, err
}

// GetMetadata asks the server anew, as a blob may have gone since it was listed.
func (s *storage) GetMetadata(ctx context.Context, id blob.ID) (blob.Metadata, error) {
	p, err := s.path(ctx, id)
	if err != nil {
		return blob.Metadata{}, err
	}
	var found *attributes
	err = s.tree.onHandle(ctx, path.Dir(p), func(folder []byte) (err error) {
		_, found, err = s.tree.lookup(ctx, folder, path.Base(p))
		return err
	})
	if err != nil {
		return blob.Metadata{}, s.explain(ctx, "look at", p, err)
	}
	return metadata(id, found), nil
}

func metadata(id blob.ID, a *attributes) blob.Metadata {
	return blob.Metadata{BlobID: id, Length: int64(a.SizeBytes), Timestamp: a.Modified}
}

// explain makes Kopia's error of a missing blob, and a Problem of everything else.
func (s *storage) explain(ctx context.Context, action, p string, err error) error {
	switch {
	case err == nil, errors.Is(err, blob.ErrInvalidRange):
		return err
	case isNotFound(err):
		return blob.ErrBlobNotFound
	}
	return s.tree.problem(ctx, fmt.Sprintf("%s %s of %s", action, p, s.options), err)
}

// GetCapacity gives the size of the export's file system and what uid may still write.
func (s *storage) GetCapacity(ctx context.Context) (blob.Capacity, error) {
	total, available, err := s.tree.fsstat(ctx, s.tree.root)
	if err != nil {
		return blob.Capacity{}, s.tree.problem(ctx, "ask for the capacity of "+s.options.String(), err)
	}
	return blob.Capacity{SizeB: total, FreeB: available}, nil
}

// ConnectionInfo describes the storage; it holds no secret.
func (s *storage) ConnectionInfo() blob.ConnectionInfo {
	return blob.ConnectionInfo{Type: StorageType, Config: &s.options}
}

// DisplayName is for people.
func (s *storage) DisplayName() string { return s.options.String() }

// IsReadOnly is always true.
func (s *storage) IsReadOnly() bool { return true }

// PutBlob refuses.
func (s *storage) PutBlob(context.Context, blob.ID, blob.Bytes, blob.PutOptions) error {
	return readonly.ErrReadonly
}

// DeleteBlob refuses.
func (s *storage) DeleteBlob(context.Context, blob.ID) error { return readonly.ErrReadonly }

// ExtendBlobRetention refuses.
func (s *storage) ExtendBlobRetention(context.Context, blob.ID, blob.ExtendOptions) error {
	return readonly.ErrReadonly
}

// FlushCaches forgets the remembered file handles.
func (s *storage) FlushCaches(context.Context) error {
	s.tree.forgetAll()
	return nil
}

// Close ends the connections.
func (s *storage) Close(context.Context) error {
	s.tree.close()
	return nil
}
