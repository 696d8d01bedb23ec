// Package barman reads the catalog that barman-cloud keeps in an object store: base backups with
// their backup.info, and the WAL archive with its continuity over timelines. The one thing that it writes
// and removes is the keep mark of a backup.
//
//	<destination>/<serverName>/base/<backup ID>/{backup.info,data.tar…,<oid>.tar…,annotations/keep}
//	<destination>/<serverName>/wals/<timeline+log>/<segment>[.gz…]
//	<destination>/<serverName>/wals/<timeline>.history[.gz…]
//
// It imports recovery, decoders of compressed data and the standard library; the object store is
// behind the interface that it declares.
package barman
