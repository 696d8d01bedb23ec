package barman

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/drctl/drctl/internal/recovery"
)

// collapse is how much smaller than its predecessor a backup must be to be suspicious: a database that
// was made anew, empty, is a valid backup too.
const collapse = 2

// compareLineage looks along the lineage for what a single server does not show: another database under
// the same name, and backups that are suddenly small. A finding within one server becomes its warning,
// one between servers the catalog's.
func compareLineage(catalog *recovery.Catalog) {
	var last *recovery.Backup
	lastServer := ""
	// Only files of one compression can be compared.
	before := map[string]*recovery.Backup{}
	for i := range catalog.Servers {
		server := &catalog.Servers[i]
		for j := range server.Backups {
			b := &server.Backups[j]
			if b.Status != statusDone {
				continue
			}
			if last != nil && last.SystemID != b.SystemID && last.SystemID != "" && b.SystemID != "" {
				warn(catalog, server, lastServer, fmt.Sprintf("the PostgreSQL system identifier changes from %s (%s/%s) to %s (%s/%s): that is another database, not a continuation",
					last.SystemID, lastServer, last.ID, b.SystemID, server.Name, b.ID))
			}
			if p := before[b.Compression]; p != nil && b.SizeBytes*collapse < p.SizeBytes {
				warn(catalog, server, server.Name, fmt.Sprintf("backup %s has %s, less than half of %s in %s before it: look whether data is missing",
					b.ID, humanize.IBytes(uint64(b.SizeBytes)), humanize.IBytes(uint64(p.SizeBytes)), p.ID))
			}
			last, lastServer = b, server.Name
			if b.Restorable {
				before[b.Compression] = b
			}
		}
	}
}

func warn(catalog *recovery.Catalog, server *recovery.Server, other, text string) {
	if other != server.Name {
		catalog.Warnings = append(catalog.Warnings, text)
		return
	}
	server.Warnings = append(server.Warnings, text)
}
