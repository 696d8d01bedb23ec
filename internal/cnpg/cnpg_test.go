package cnpg

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

type fakeDatabases struct {
	databases []recovery.Database
	gaps      recovery.Gaps
	err       error
}

func (f fakeDatabases) Databases(context.Context, string) ([]recovery.Database, recovery.Gaps, error) {
	return f.databases, f.gaps, f.err
}

type fakeCatalogs map[string]struct {
	catalog recovery.Catalog
	gaps    recovery.Gaps
	err     error
}

func (f fakeCatalogs) Catalog(_ context.Context, _ string, store recovery.ObjectStore, servers []string) (recovery.Catalog, recovery.Gaps, error) {
	found := f[store.DestinationPath]
	if len(servers) > 0 {
		var kept []recovery.Server
		for _, s := range found.catalog.Servers {
			if s.Name == servers[0] {
				kept = append(kept, s)
			}
		}
		found.catalog.Servers = kept
	}
	return found.catalog, found.gaps, found.err
}

var two = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

func immich() recovery.Database {
	return recovery.Database{
		Namespace: "cloudnative-pg", Name: "immich-database", ServerName: "v2", Instances: 1, ReadyInstances: 1, Archiving: "true",
		Store: recovery.ObjectStore{DestinationPath: "s3://b/immich"},
	}
}

func lineage() fakeCatalogs {
	window := &recovery.Window{From: two, To: two.Add(time.Hour)}
	return fakeCatalogs{"s3://b/immich": {catalog: recovery.Catalog{DestinationPath: "s3://b/immich", Servers: []recovery.Server{
		{Name: "v1", Backups: []recovery.Backup{{ID: "20261101T020000", Restorable: true}}},
		{Name: "v2", RecoveryWindow: window, Backups: []recovery.Backup{{ID: "20261122T020000", Name: "nightly", Restorable: true}, {ID: "20261123T020000"}}, Warnings: []string{"a warning"}},
	}}}}
}

func TestListShowsTheServerInUse(t *testing.T) {
	list, gaps, err := (&Lister{Databases: fakeDatabases{databases: []recovery.Database{immich()}}, Catalogs: lineage()}).List(t.Context(), "", nil)
	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Len(t, list.Items, 1)
	require.Equal(t, 1, list.Items[0].RestorableCount, "v1's backups are not those of the server in use")
	require.Equal(t, two, list.Items[0].RecoveryWindow.From)
	require.Equal(t, []string{"a warning"}, list.Items[0].Warnings)
}

func TestListKeepsWhatItCannotReadUnknown(t *testing.T) {
	broken := &recovery.Problem{What: "S3 does not answer"}
	other := immich()
	other.Name, other.Store.DestinationPath = "other", "s3://b/other"
	bare := recovery.Database{Name: "bare", ReadyInstances: -1}
	catalogs := lineage()
	catalogs["s3://b/other"] = catalogs["none"]
	entry := catalogs["s3://b/other"]
	entry.err = broken
	catalogs["s3://b/other"] = entry
	list, gaps, err := (&Lister{Databases: fakeDatabases{databases: []recovery.Database{immich(), other, bare}}, Catalogs: catalogs}).List(t.Context(), "", nil)
	require.NoError(t, err)
	require.Len(t, gaps, 1)
	require.Len(t, list.Items, 3)
	require.Equal(t, "bare", list.Items[0].Name)
	require.Contains(t, strings.Join(list.Items[0].Warnings, ""), "nothing is backed up")
	require.Equal(t, -1, list.Items[2].RestorableCount)
	require.Nil(t, list.Items[2].RecoveryWindow)
	require.Len(t, list.Warnings, 1)
}

func resolveFirst(_ string, databases []recovery.Database) (recovery.Database, error) {
	if len(databases) == 0 {
		return recovery.Database{}, errors.New("none")
	}
	return databases[0], nil
}

func TestBackups(t *testing.T) {
	known := &Lister{Databases: fakeDatabases{databases: []recovery.Database{immich()}}, Catalogs: lineage()}
	t.Run("by name, over the lineage", func(t *testing.T) {
		catalog, _, err := known.Backups(t.Context(), BackupQuery{Name: "immich", Resolve: resolveFirst})
		require.NoError(t, err)
		require.Equal(t, "v2", catalog.ServerName)
		require.Len(t, catalog.Servers, 2)
	})
	t.Run("by destination, without any cluster", func(t *testing.T) {
		catalog, _, err := (&Lister{Catalogs: lineage()}).Backups(t.Context(), BackupQuery{Store: recovery.ObjectStore{DestinationPath: "s3://b/immich"}})
		require.NoError(t, err)
		require.Empty(t, catalog.Name)
		require.Len(t, catalog.Servers, 2)
	})
	t.Run("by ID and by name of a backup", func(t *testing.T) {
		for _, id := range []string{"20261122T020000", "nightly"} {
			catalog, _, err := known.Backups(t.Context(), BackupQuery{Name: "immich", Resolve: resolveFirst, IDs: []string{id}})
			require.NoError(t, err)
			require.Len(t, catalog.Servers, 1)
			require.Len(t, catalog.Servers[0].Backups, 1)
		}
	})
	t.Run("an ID that is not there", func(t *testing.T) {
		_, _, err := known.Backups(t.Context(), BackupQuery{Name: "immich", Resolve: resolveFirst, IDs: []string{"20000101T000000"}})
		require.ErrorIs(t, err, recovery.ErrNotFound)
	})
	t.Run("nothing named", func(t *testing.T) {
		_, _, err := known.Backups(t.Context(), BackupQuery{})
		require.ErrorIs(t, err, recovery.ErrUsage)
	})
	t.Run("a Cluster that only recovers from somewhere", func(t *testing.T) {
		db := immich()
		db.Store, db.ServerName = recovery.ObjectStore{}, ""
		db.RecoverySources = []recovery.RecoverySource{{Name: "old", ServerName: "v1", Store: recovery.ObjectStore{DestinationPath: "s3://b/immich"}}}
		l := &Lister{Databases: fakeDatabases{databases: []recovery.Database{db}}, Catalogs: lineage()}
		catalog, _, err := l.Backups(t.Context(), BackupQuery{Name: "immich", Resolve: resolveFirst})
		require.NoError(t, err)
		require.Len(t, catalog.Servers, 2)
	})
	t.Run("a Cluster without backups", func(t *testing.T) {
		l := &Lister{Databases: fakeDatabases{databases: []recovery.Database{{Name: "bare"}}}, Catalogs: lineage()}
		_, _, err := l.Backups(t.Context(), BackupQuery{Name: "bare", Resolve: resolveFirst})
		require.ErrorIs(t, err, recovery.ErrNotFound)
	})
}
