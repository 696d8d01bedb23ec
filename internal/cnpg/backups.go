package cnpg

import (
	"context"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// BackupCatalog is the answer of `drctl cnpg backups`: the catalog of a destination, and for a named
// database the server that it writes to now.
type BackupCatalog struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Namespace, Name and ServerName are empty for a bare destination.
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
	ServerName string `json:"serverName,omitempty"`

	recovery.Catalog
}

// Resolver finds the one database that a name means.
type Resolver func(name string, databases []recovery.Database) (recovery.Database, error)

// BackupQuery says whose backups are wanted: a database by name, or a destination.
type BackupQuery struct {
	// Name is what the operator typed; Resolve knows what it may mean.
	Name      string
	Namespace string
	Resolve   Resolver
	// Store is used when its DestinationPath is set: then no cluster and no tree is asked.
	Store recovery.ObjectStore
	// Servers narrows the catalog; none means the whole lineage.
	Servers []string
	// IDs narrows the backups shown; none means all.
	IDs []string
}

// Backups reads the catalog of every server of the lineage.
func (l *Lister) Backups(ctx context.Context, q BackupQuery) (*BackupCatalog, recovery.Gaps, error) {
	answer := &BackupCatalog{APIVersion: recovery.APIVersion, Kind: "BackupCatalog"}
	store, namespace := q.Store, q.Namespace
	var gaps recovery.Gaps
	if store.DestinationPath == "" {
		db, more, err := l.Find(ctx, q)
		gaps = more
		if err != nil {
			return nil, gaps, err
		}
		answer.Namespace, answer.Name, answer.ServerName = db.Namespace, db.Name, db.ServerName
		store, namespace = db.Store, db.Namespace
	}
	catalog, more, err := l.Catalogs.Catalog(ctx, namespace, store, q.Servers)
	gaps = append(gaps, more...)
	if err != nil {
		return nil, gaps, err
	}
	answer.Catalog = catalog
	if len(q.IDs) > 0 {
		if err := answer.keep(q.IDs); err != nil {
			return nil, gaps, err
		}
	}
	if answer.Warnings == nil {
		answer.Warnings = []string{}
	}
	answer.Warnings = append(answer.Warnings, warnings(gaps)...)
	return answer, gaps, nil
}

// Find resolves the name among the databases that are known. A database without a backup section that
// recovers from somewhere is answered with that store: it is where its backups are.
func (l *Lister) Find(ctx context.Context, q BackupQuery) (recovery.Database, recovery.Gaps, error) {
	if q.Name == "" || l.Databases == nil {
		return recovery.Database{}, nil, nothingThere()
	}
	databases, gaps, err := l.Databases.Databases(ctx, q.Namespace)
	if err != nil {
		return recovery.Database{}, gaps, err
	}
	db, err := q.Resolve(q.Name, databases)
	if err != nil {
		return db, gaps, err
	}
	if db.Store.DestinationPath != "" {
		return db, gaps, nil
	}
	for _, source := range db.RecoverySources {
		if source.Store.DestinationPath != "" {
			db.Store = source.Store
			return db, gaps, nil
		}
	}
	return db, gaps, &recovery.Problem{
		What: "Cluster " + db.Namespace + "/" + db.Name + " has no Barman backups", Why: "its manifest names no object store",
		Next: "give --destination-path s3://BUCKET/PATH if they stand somewhere", Err: recovery.ErrNotFound,
	}
}

// keep drops every backup that is not among the IDs (or backup names).
func (c *BackupCatalog) keep(ids []string) error {
	found := map[string]bool{}
	servers := c.Servers[:0:0]
	for _, server := range c.Servers {
		kept := []recovery.Backup{}
		for _, backup := range server.Backups {
			for _, id := range ids {
				if backup.ID == id || (backup.Name != "" && backup.Name == id) {
					found[id] = true
					kept = append(kept, backup)
				}
			}
		}
		if len(kept) > 0 {
			server.Backups = kept
			servers = append(servers, server)
		}
	}
	c.Servers = servers
	var missing []string
	for _, id := range ids {
		if !found[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return &recovery.Problem{
			What: "no backup " + strings.Join(missing, ", ") + " below " + c.DestinationPath,
			Next: "list them all: drctl cnpg backups " + c.Name, Err: recovery.ErrNotFound,
		}
	}
	return nil
}
