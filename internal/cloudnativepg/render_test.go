package cloudnativepg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// chosen are options that fit every Cluster of the tests.
func chosen() RecoveryOptions {
	return RecoveryOptions{
		PlanID: "cnpg-recover-20261124-061502-k3x9", SourceServer: "immich-database-v1", ArchiveServer: "immich-database-v2",
		BackupID: "20261123T020000",
	}
}

func atPoint(o RecoveryOptions) RecoveryOptions {
	o.TargetTime = time.Date(2026, 11, 23, 18, 30, 0, 123456789, time.FixedZone("CET", 3600))
	return o
}

func beside(o RecoveryOptions) RecoveryOptions {
	o.ArchiveServer, o.NewName = "", "immich-database-look"
	return o
}

func cluster(t *testing.T, file, name string) *unstructured.Unstructured {
	t.Helper()
	for _, item := range readManifests(t, file).items {
		if item.GetKind() == "Cluster" && item.GetName() == name {
			return &item
		}
	}
	t.Fatalf("%s has no Cluster %s", file, name)
	return nil
}

// parse reads one manifest out of a test's own text.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err)
	object := &unstructured.Unstructured{}
	require.NoError(t, object.UnmarshalJSON(encoded))
	return object
}

// platformCluster is a Cluster of the lab's GitOps tree.
func platformCluster(t *testing.T, app string) *unstructured.Unstructured {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, lab.Platform{EndpointURL: "http://192.168.1.100:9000"}.WriteTree(dir, lab.SecretsPlaceholder))
	content, err := os.ReadFile(filepath.Join(dir, "infrastructure/database/cnpg", app, "cluster.yaml"))
	require.NoError(t, err)
	return parse(t, string(content))
}

// goldenRendering is a rendering as it is compared with what was reviewed.
type goldenRendering struct {
	Warnings []string       `json:"warnings"`
	Cluster  map[string]any `json:"cluster"`
}

func TestRenderRecovery(t *testing.T) {
	for _, test := range []struct {
		name     string
		manifest func(t *testing.T) *unstructured.Unstructured
		options  RecoveryOptions
	}{
		{"platform-intree", func(t *testing.T) *unstructured.Unstructured { return platformCluster(t, "immich") }, chosen()},
		{"platform-plugin", func(t *testing.T) *unstructured.Unstructured { return platformCluster(t, "forgejo") }, atPoint(chosen())},
		{"platform-plugin-beside", func(t *testing.T) *unstructured.Unstructured { return platformCluster(t, "forgejo") }, beside(chosen())},
		{"live-intree", fromFile("immich-database"), atPoint(chosen())},
		{"live-intree-beside", fromFile("immich-database"), beside(chosen())},
		{"left-in-recovery-plugin", fromFile("media"), chosen()},
		{"left-in-recovery-plugin-beside", fromFile("media"), beside(chosen())},
		{"bare", fromFile("bare"), RecoveryOptions{SourceServer: "bare", ArchiveServer: "bare-v2", BackupID: "20261123T020000"}},
		{"imported", fromFile("imported"), chosen()},
		{"promoted", fromFile("promoted"), chosen()},
	} {
		t.Run(test.name, func(t *testing.T) {
			manifest := test.manifest(t)
			before := manifest.DeepCopy()

			rendered, warnings, err := RenderRecovery(manifest, test.options)

			require.NoError(t, err)
			require.Equal(t, before.Object, manifest.Object, "the manifest itself stays")
			if warnings == nil {
				warnings = []string{}
			}
			requireGolden(t, "render-"+test.name+".golden.json", goldenRendering{Warnings: warnings, Cluster: rendered.Object})
			requireIntended(t, manifest, rendered, test.options)
		})
	}
}

func fromFile(name string) func(t *testing.T) *unstructured.Unstructured {
	return func(t *testing.T) *unstructured.Unstructured { return cluster(t, "render.yaml", name) }
}

// small is a Cluster that can be recovered; refusals change one line of it.
const small = `apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: some, namespace: databases}
spec:
  storage: {size: 1Gi}
  bootstrap: {initdb: {database: some, owner: some}}
  backup: {barmanObjectStore: {destinationPath: "s3://backups/some", s3Credentials: {inheritFromIAMRole: true}}}
`

func TestRenderRecoveryRefuses(t *testing.T) {
	const inTree = `backup: {barmanObjectStore: {destinationPath: "s3://backups/some", s3Credentials: {inheritFromIAMRole: true}}}`
	const initdb = `bootstrap: {initdb: {database: some, owner: some}}`
	const plugin = `{name: barman-cloud.cloudnative-pg.io, isWALArchiver: true, parameters: {barmanObjectName: garage}}`
	for _, test := range []struct {
		name, old, new string
		change         func(o *RecoveryOptions)
		kind           error
		why            string
	}{
		{name: "a replica", old: initdb, new: "replica: {enabled: true, source: x}\n  bootstrap: {recovery: {source: x}}", kind: recovery.ErrUnsupported, why: "replica cluster"},
		{name: "a replica of a distributed topology", old: initdb, new: "replica: {self: b, primary: a, source: a}", kind: recovery.ErrUnsupported, why: "replica cluster"},
		{name: "pg_basebackup", old: initdb, new: "bootstrap: {pg_basebackup: {source: x}}", kind: recovery.ErrUnsupported, why: "pg_basebackup"},
		{name: "two bootstraps", old: initdb, new: "bootstrap: {initdb: {database: a}, recovery: {source: x}}", kind: recovery.ErrUnsupported, why: "both initdb and recovery"},
		{name: "both shapes", old: inTree, new: inTree + "\n  plugins: [" + plugin + "]", kind: recovery.ErrUnsupported, why: "both spec.backup.barmanObjectStore and"},
		{name: "two plugins", old: inTree, new: "plugins: [" + plugin + ", " + plugin + "]", kind: recovery.ErrUnsupported, why: "twice"},
		{name: "another archiver", old: inTree, new: "plugins: [{name: wal-g.example, isWALArchiver: true}]", kind: recovery.ErrUnsupported, why: "wal-g.example"},
		{name: "no backups", old: inTree, new: "backup: {retentionPolicy: 14d}", kind: recovery.ErrUnsupported, why: "it has no backups"},
		{name: "no backups, recovered once", old: initdb + "\n  " + inTree, new: "bootstrap: {recovery: {source: x}}", kind: recovery.ErrUnsupported, why: "it has no backups"},
		{name: "an empty store", old: inTree, new: "backup: {barmanObjectStore: }", kind: recovery.ErrUnsupported, why: "is empty"},
		{name: "a plugin without a store", old: inTree, new: "plugins: [{name: barman-cloud.cloudnative-pg.io, isWALArchiver: true}]", kind: recovery.ErrUnsupported, why: "barmanObjectName"},
		{name: "a plugin that is off", old: inTree, new: "plugins: [{name: barman-cloud.cloudnative-pg.io, enabled: false, isWALArchiver: true, parameters: {barmanObjectName: garage}}]", kind: recovery.ErrUnsupported, why: "it has no backups"},
		{name: "not a Cluster", old: "kind: Cluster", new: "kind: Pooler", kind: recovery.ErrUsage, why: "it is a Pooler"},
		{name: "not to be decoded", old: "storage: {size: 1Gi}", new: "storage: {size: 1Gi}\n  instances: many", kind: recovery.ErrDamaged, why: "unrecognized type"},
		{name: "no backup ID", change: func(o *RecoveryOptions) { o.BackupID = "" }, kind: recovery.ErrUsage, why: "no backup is chosen"},
		{name: "no source", change: func(o *RecoveryOptions) { o.SourceServer = "" }, kind: recovery.ErrUsage, why: "no name of a server"},
		{name: "a source out of the folder", change: func(o *RecoveryOptions) { o.SourceServer = "../other" }, kind: recovery.ErrUsage, why: "no name of a server"},
		{name: "an archive that is an option", change: func(o *RecoveryOptions) { o.ArchiveServer = "--help" }, kind: recovery.ErrUsage, why: "no name of a server"},
		{name: "one server for both", change: func(o *RecoveryOptions) { o.ArchiveServer = o.SourceServer }, kind: recovery.ErrUsage, why: "would be read and written"},
		{name: "beside, with an archive", change: func(o *RecoveryOptions) { o.NewName = "look" }, kind: recovery.ErrUsage, why: "writes no backups"},
		{name: "beside, under the same name", change: func(o *RecoveryOptions) { o.NewName, o.ArchiveServer = "some", "" }, kind: recovery.ErrUsage, why: "the new name is the old one"},
		{name: "beside, with capitals", change: func(o *RecoveryOptions) { o.NewName, o.ArchiveServer = "Look", "" }, kind: recovery.ErrUsage, why: "does not take"},
		{name: "beside, too long", change: func(o *RecoveryOptions) { o.NewName, o.ArchiveServer = strings.Repeat("x", 51), "" }, kind: recovery.ErrUsage, why: "does not take"},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := chosen()
			if test.change != nil {
				test.change(&options)
			}
			require.Contains(t, small, test.old)
			manifest := parse(t, strings.Replace(small, test.old, test.new, 1))

			rendered, _, err := RenderRecovery(manifest, options)

			require.Nil(t, rendered)
			require.ErrorIs(t, err, test.kind)
			var problem *recovery.Problem
			require.ErrorAs(t, err, &problem)
			require.Contains(t, problem.Why, test.why)
			require.NotEmpty(t, problem.Next)
		})
	}
}

func TestRenderRecoveryWarnsOfAManifestThatNothingHoldsBack(t *testing.T) {
	without := parse(t, strings.Replace(small, "bootstrap: {initdb: {database: some, owner: some}}", "", 1))
	_, warnings, err := RenderRecovery(without, chosen())
	require.NoError(t, err)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "put bootstrap.initdb into Git first (database: app, owner: app)")
	_, warnings, err = RenderRecovery(without, beside(chosen()))
	require.NoError(t, err)
	require.Empty(t, warnings)
	_, warnings, err = RenderRecovery(parse(t, small), chosen())
	require.NoError(t, err)
	require.Empty(t, warnings)
}

func TestWriteServerAndBootstrap(t *testing.T) {
	server, plugin, err := WriteServer(cluster(t, "render.yaml", "media"))
	require.NoError(t, err)
	require.True(t, plugin)
	require.Equal(t, "media", server, "defaults to the Cluster's name")

	server, plugin, err = WriteServer(cluster(t, "render.yaml", "immich-database"))
	require.NoError(t, err)
	require.False(t, plugin)
	require.Equal(t, "immich-database-v1", server)
	_, _, err = WriteServer(cluster(t, "clusters.yaml", "scratch"))
	require.ErrorIs(t, err, recovery.ErrUnsupported)

	require.Equal(t, BootstrapRecovery, Bootstrap(cluster(t, "render.yaml", "media")))
	require.Equal(t, BootstrapInitDB, Bootstrap(cluster(t, "render.yaml", "imported")))
	require.Empty(t, Bootstrap(cluster(t, "render.yaml", "bare")))
	require.Empty(t, Bootstrap(parse(t, strings.Replace(small, "owner: some}", "owner: some}, pg_basebackup: {source: x}", 1))))
	require.True(t, HasRecovery(cluster(t, "render.yaml", "media")))
	require.False(t, HasRecovery(parse(t, strings.Replace(small, "owner: some}", "owner: some}, recovery: ", 1))), "null is none")
	require.Equal(t, "an-older-plan", PlanMark(cluster(t, "render.yaml", "immich-database")))
	require.Empty(t, PlanMark(cluster(t, "render.yaml", "media")))
}

func mustDecode(t *testing.T, manifest *unstructured.Unstructured) *apiv1.Cluster {
	t.Helper()
	decoded, err := decodeCluster(manifest)
	require.NoError(t, err)
	return decoded
}
