package cloudnativepg

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/drctl/drctl/internal/recovery"
)

// RecoveryOptions say what a recovery Cluster reads and writes.
type RecoveryOptions struct {
	// PlanID marks the Cluster as the plan's own (label and annotation PlanKey); empty for no mark.
	PlanID string
	// SourceServer is the server whose backup is restored, ArchiveServer the one that the new Cluster
	// writes to, whose WAL archive must be empty. ArchiveServer is empty with NewName.
	SourceServer, ArchiveServer string
	// BackupID names the base backup. It is always rendered: without it CloudNativePG takes the newest
	// one at the time when the job runs.
	BackupID string
	// TargetTime is the point in time to recover to, zero for the end of the archive. PostgreSQL knows
	// microseconds; what is finer is cut off, so that the target never moves to later.
	TargetTime time.Time
	// NewName recovers beside the live Cluster, under this name, with nothing that could write into a
	// server or take traffic away. Empty to replace it.
	NewName string
}

// RenderRecovery makes the Cluster that recovers a database out of the manifest that made it, which may
// come from Git, a file or the live object: bootstrap recovers SourceServer's backup out of the store
// that the manifest writes to, with database, owner and secret as they were; backups go to
// ArchiveServer. All else stays, but what only a server sets and what would hold the recovery up (see
// cleanMetadata). The manifest is not changed. The texts say what else the operator should know.
//
// What can't be recovered with certainty is recovery.ErrUnsupported, options that can't mean anything
// are recovery.ErrUsage.
//
// Source: CNPG api/v1 cluster_defaults.go (a recovery without database and owner is defaulted to
// app/app, CNPG#2425).
func RenderRecovery(manifest *unstructured.Unstructured, o RecoveryOptions) (*unstructured.Unstructured, []string, error) {
	cluster, err := decodeCluster(manifest)
	if err != nil {
		return nil, nil, err
	}
	if err := recoverable(cluster); err != nil {
		return nil, nil, err
	}
	write, err := writeSideOf(manifest, cluster)
	if err != nil {
		return nil, nil, err
	}
	if err := o.check(cluster); err != nil {
		return nil, nil, err
	}
	rendered := manifest.DeepCopy()
	warnings := cleanMetadata(rendered)
	source, err := setRecoverySource(rendered, cluster, write, o.SourceServer)
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, setRecovery(rendered, cluster, source, o)...)
	if o.NewName != "" {
		warnings = append(warnings, setBeside(rendered, o.NewName)...)
	} else if err := setWriteServer(rendered, cluster, o.ArchiveServer); err != nil {
		return nil, nil, err
	} else if Bootstrap(manifest) == "" && len(cluster.Spec.ExternalClusters) == 0 {
		// Proven on the real webhooks: nothing in such a manifest collides with the recovery.
		warnings = append(warnings, fmt.Sprintf("the manifest has no spec.bootstrap, so CloudNativePG does not refuse it while the recovery runs, and Argo CD would bring the old server back: put bootstrap.initdb into Git first (%s)",
			applicationOf(cluster)))
	}
	setMark(rendered, o.PlanID)
	return rendered, warnings, nil
}

// check finds what the options can't mean.
func (o RecoveryOptions) check(cluster *apiv1.Cluster) error {
	usage := func(why, next string) error {
		return &recovery.Problem{
			What: fmt.Sprintf("render the recovery of Cluster %s/%s", cluster.Namespace, cluster.Name), Why: why, Next: next, Err: recovery.ErrUsage,
		}
	}
	if o.BackupID == "" {
		return usage("no backup is chosen", "give --backup-id; `drctl cnpg backups` lists them")
	}
	servers := []string{o.SourceServer}
	if o.NewName == "" {
		servers = append(servers, o.ArchiveServer)
	}
	for _, server := range servers {
		if !serverName().MatchString(server) {
			return usage(fmt.Sprintf("%q is no name of a server", server), "a server is a folder in S3: letters, digits, '.', '_' and '-'")
		}
	}
	switch {
	case o.NewName != "" && o.ArchiveServer != "":
		return usage("a Cluster recovered beside the live one writes no backups", "leave --archive-server-name out")
	case o.NewName != "" && o.NewName == cluster.Name:
		return usage("the new name is the old one", "give another --new-name, or none to replace the Cluster")
	case o.NewName != "" && (len(o.NewName) > maxClusterName || len(validation.IsDNS1035Label(o.NewName)) > 0):
		return usage(fmt.Sprintf("CloudNativePG does not take %q as a name", o.NewName),
			fmt.Sprintf("at most %d lower-case letters, digits and '-', beginning with a letter", maxClusterName))
	case o.SourceServer == o.ArchiveServer:
		return usage(fmt.Sprintf("%s would be read and written: a new Cluster needs an empty WAL archive", o.SourceServer), "give another --archive-server-name")
	}
	return nil
}

// maxClusterName is the length that CloudNativePG allows. Source: internal/webhook/v1 validateName.
const maxClusterName = 50

// serverName is what can be a folder in S3 and an argument of Barman's programs.
func serverName() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`) }

// recoverable refuses Clusters whose own bootstrap a recovery can't stand for.
func recoverable(cluster *apiv1.Cluster) error {
	bootstrap := cluster.Spec.Bootstrap
	switch {
	case cluster.IsReplica():
		return unsupported(cluster, "it is a replica cluster (spec.replica): its data comes from its source", "recover the primary cluster")
	case bootstrap == nil:
		return nil
	case bootstrap.PgBaseBackup != nil:
		return unsupported(cluster, "bootstrap.pg_basebackup copies a running server, and the manifest does not say which database was made",
			"replace it by bootstrap.initdb with the right database, owner and secret, in Git too")
	case bootstrap.InitDB != nil && bootstrap.Recovery != nil:
		return unsupported(cluster, "bootstrap has both initdb and recovery, which CloudNativePG refuses", "keep one of them")
	}
	return nil
}

// setRecovery replaces the bootstrap. Whatever the old one recovered from (a Backup object, volume
// snapshots, an older target) goes with it.
func setRecovery(rendered *unstructured.Unstructured, cluster *apiv1.Cluster, source string, o RecoveryOptions) []string {
	application := applicationOf(cluster)
	target := map[string]any{"backupID": o.BackupID}
	if !o.TargetTime.IsZero() {
		target["targetTime"] = o.TargetTime.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	}
	block := map[string]any{
		"source": source, "database": application.database, "owner": application.owner, "recoveryTarget": target,
	}
	if application.secret != "" {
		block["secret"] = map[string]any{"name": application.secret}
	}
	spec(rendered)["bootstrap"] = map[string]any{BootstrapRecovery: block}
	if application.invented {
		return []string{fmt.Sprintf("the Cluster was made by a monolithic import and has no application database: CloudNativePG adds an empty database and role %q to every recovery", application.database)}
	}
	return nil
}

// application is the database that CloudNativePG makes for the application, or after a recovery takes
// care of.
type application struct {
	database, owner, secret string
	// invented: the manifest names none, and the Cluster has none.
	invented bool
}

// String is the application as initdb names it.
func (a application) String() string {
	return fmt.Sprintf("database: %s, owner: %s", a.database, a.owner)
}

// applicationOf applies the defaults of initdb, so that the recovery does not get other ones.
// Source: CNPG api/v1 cluster_defaults.go defaultInitDB, defaultRecovery.
func applicationOf(cluster *apiv1.Cluster) application {
	var a application
	if bootstrap := cluster.Spec.Bootstrap; bootstrap != nil {
		if initdb := bootstrap.InitDB; initdb != nil {
			a = application{database: initdb.Database, owner: initdb.Owner, secret: secretName(initdb.Secret)}
			a.invented = a.database == "" && initdb.Import != nil && initdb.Import.Type == apiv1.MonolithSnapshotType
		}
		if block := bootstrap.Recovery; block != nil {
			a = application{database: block.Database, owner: block.Owner, secret: secretName(block.Secret)}
		}
	}
	a.database = nameOr(a.database, apiv1.DefaultApplicationDatabaseName)
	a.owner = nameOr(a.owner, a.database)
	return a
}

func secretName(reference *apiv1.LocalObjectReference) string {
	if reference == nil {
		return ""
	}
	return reference.Name
}

// setWriteServer has the Cluster write to another server, in whichever shape it writes.
func setWriteServer(rendered *unstructured.Unstructured, cluster *apiv1.Cluster, server string) error {
	index, err := archiverIndex(cluster)
	if err != nil {
		return err
	}
	if index < 0 {
		return unstructured.SetNestedField(rendered.Object, server, "spec", "backup", "barmanObjectStore", "serverName")
	}
	plugin := listOfMaps(rendered, "spec", "plugins")[index]
	return unstructured.SetNestedField(plugin, server, "parameters", serverNameParameter)
}

// spec is the object's spec, made where there is none.
func spec(object *unstructured.Unstructured) map[string]any {
	fields, ok := object.Object["spec"].(map[string]any)
	if !ok {
		fields = map[string]any{}
		object.Object["spec"] = fields
	}
	return fields
}

// quoted lists names for a message.
func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }
