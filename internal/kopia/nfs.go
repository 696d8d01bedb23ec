package kopia

import (
	"context"

	"github.com/kopia/kopia/repo/blob"

	"github.com/drctl/drctl/internal/kopia/nfs"
)

// openNFS gives the storage of an export, spoken to from user space.
func openNFS(ctx context.Context, l Location) (blob.Storage, error) {
	return nfs.New(ctx, nfs.Options{Host: l.Host, Port: l.Port, MountPort: l.MountPort, Path: l.Path, UID: l.UID, GID: l.GID})
}
