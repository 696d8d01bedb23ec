package cnpg

import (
	"context"
	"errors"
	"sort"
	"sync"

	"github.com/drctl/drctl/internal/recovery"
)

// Databases lists CNPG Clusters; namespace "" means all.
type Databases interface {
	Databases(ctx context.Context, namespace string) ([]recovery.Database, recovery.Gaps, error)
}

// Catalogs reads Barman destinations.
type Catalogs interface {
	// Catalog reads the named servers of the store, or all of them when none is named. The namespace
	// is where the store's Secrets stand; it may be empty when the credentials come from elsewhere.
	Catalog(ctx context.Context, namespace string, store recovery.ObjectStore, servers []string) (recovery.Catalog, recovery.Gaps, error)
}

// DatabaseList is the answer of `drctl cnpg list`.
type DatabaseList struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Items      []DatabaseItem `json:"items"`
	Warnings   []string       `json:"warnings"`
}

// DatabaseItem is one Cluster.
type DatabaseItem struct {
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	ServerName      string `json:"serverName"`
	DestinationPath string `json:"destinationPath"`
	EndpointURL     string `json:"endpointURL"`
	Phase           string `json:"phase"`
	Instances       int    `json:"instances"`
	// ReadyInstances is -1 when it is unknown: the cluster was not asked.
	ReadyInstances int `json:"readyInstances"`
	// Archiving is true, false or unknown.
	Archiving string `json:"archiving"`
	// RecoveryWindow is that of the server in use; null when nothing can be recovered or it could not
	// be read.
	RecoveryWindow *recovery.Window `json:"recoveryWindow"`
	// RestorableCount counts restorable backups of the server in use; -1 when it could not be read.
	RestorableCount int      `json:"restorableCount"`
	Plugin          bool     `json:"plugin"`
	Warnings        []string `json:"warnings"`
}

// Lister joins databases and catalogs. Databases may be nil when only a destination is known.
type Lister struct {
	Databases Databases
	Catalogs  Catalogs
}

// mostCatalogs is how many destinations are read at the same time.
const mostCatalogs = 8

// List reads all Clusters, and the catalog of each one's server in use.
func (l *Lister) List(ctx context.Context, namespace string, labels func(map[string]string) bool) (*DatabaseList, recovery.Gaps, error) {
	databases, gaps, err := l.Databases.Databases(ctx, namespace)
	if err != nil {
		return nil, gaps, err
	}
	var wanted []recovery.Database
	for _, db := range databases {
		if labels == nil || labels(db.Labels) {
			wanted = append(wanted, db)
		}
	}
	items := make([]DatabaseItem, len(wanted))
	unread := make([]recovery.Gaps, len(wanted))
	slots := make(chan struct{}, mostCatalogs)
	var all sync.WaitGroup
	for i, db := range wanted {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			items[i], unread[i] = l.item(ctx, db)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, gaps, err
	}
	for _, more := range unread {
		gaps = append(gaps, more...)
	}
	list := &DatabaseList{APIVersion: recovery.APIVersion, Kind: "DatabaseList", Items: items, Warnings: warnings(gaps)}
	sort.SliceStable(list.Items, func(i, j int) bool {
		a, b := list.Items[i], list.Items[j]
		return a.Namespace < b.Namespace || (a.Namespace == b.Namespace && a.Name < b.Name)
	})
	return list, gaps, nil
}

func (l *Lister) item(ctx context.Context, db recovery.Database) (DatabaseItem, recovery.Gaps) {
	item := DatabaseItem{
		Namespace: db.Namespace, Name: db.Name, ServerName: db.ServerName, DestinationPath: db.Store.DestinationPath,
		EndpointURL: db.Store.EndpointURL, Phase: db.Phase, Instances: db.Instances, ReadyInstances: db.ReadyInstances,
		Archiving: db.Archiving, Plugin: db.Plugin, RestorableCount: -1, Warnings: append([]string{}, db.Warnings...),
	}
	if db.ServerName == "" || db.Store.DestinationPath == "" {
		item.RestorableCount = 0
		item.Warnings = append(item.Warnings, "has no backup section: nothing is backed up")
		return item, nil
	}
	catalog, gaps, err := l.Catalogs.Catalog(ctx, db.Namespace, db.Store, []string{db.ServerName})
	gaps.Add("read "+db.Store.DestinationPath+"/"+db.ServerName, err)
	if err != nil {
		return item, gaps
	}
	item.Warnings = append(item.Warnings, catalog.Warnings...)
	item.describe(catalog)
	return item, gaps
}

// describe takes what the catalog says of the server in use.
func (i *DatabaseItem) describe(catalog recovery.Catalog) {
	i.RestorableCount = 0
	for _, server := range catalog.Servers {
		if server.Name != i.ServerName {
			continue
		}
		i.RecoveryWindow = server.RecoveryWindow
		for _, backup := range server.Backups {
			if backup.Restorable {
				i.RestorableCount++
			}
		}
		i.Warnings = append(i.Warnings, server.Warnings...)
	}
	if i.RestorableCount == 0 {
		i.Warnings = append(i.Warnings, "no restorable backup under "+i.ServerName+": see drctl cnpg backups "+i.Namespace+"/"+i.Name)
	}
}

func warnings(gaps recovery.Gaps) []string {
	list := make([]string, 0, len(gaps))
	for _, gap := range gaps {
		list = append(list, gap.Error())
	}
	return list
}

// nothingThere is an error that says no Cluster and no destination is known.
func nothingThere() error {
	return &recovery.Problem{
		What: "no database is named and no destination is known", Next: "give a NAME, or --destination-path s3://BUCKET/PATH",
		Err: errors.Join(recovery.ErrUsage),
	}
}
