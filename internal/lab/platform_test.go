package lab_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/lab"
)

func testPlatform() lab.Platform {
	return lab.Platform{
		EndpointURL: "http://127.0.0.1:9", AccessKeyID: "CANARY-KEY-ID", SecretAccessKey: "CANARY-SECRET-KEY",
		KopiaPassword: "CANARY-PASSWORD", NFSServer: "127.0.0.1", NFSPath: "/export", SeededAt: time.Now().UTC(),
	}
}

func TestClaimsAreConsistent(t *testing.T) {
	seen := map[string]bool{}
	writers := map[string]int{}
	for _, claim := range lab.PlatformClaims() {
		name := claim.Namespace + "/" + claim.Name
		require.False(t, seen[name], "%s stands twice", name)
		seen[name] = true
		require.NotEmpty(t, claim.State, name)
		require.NotEmpty(t, claim.Why, name)
		require.LessOrEqual(t, len(claim.Identity.Username), 50, name)
		require.False(t, claim.Source && claim.Backup == "", "%s: the policy makes no source without a label", name)
		require.Equal(t, claim.State == "orphaned", !claim.InCluster, name)
		for i, snapshot := range claim.Snapshots {
			require.Positive(t, snapshot.SizeBytes/int64(snapshot.Files), name)
			require.True(t, i == 0 || claim.Snapshots[i-1].Age < snapshot.Age, "%s: newest first", name)
		}
		if claim.Source {
			writers[claim.Identity.String()]++
		}
	}
	shared := 0
	for _, count := range writers {
		if count > 1 {
			shared++
		}
	}
	require.Equal(t, 1, shared, "one identity is written by two sources")
}

// TestTreeHoldsSecretsInEachForm proves that the values stand in the plain form and in no other.
func TestTreeHoldsSecretsInEachForm(t *testing.T) {
	platform := testPlatform()
	for _, form := range lab.SecretForms() {
		t.Run(string(form), func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, platform.WriteTree(dir, form))
			var text strings.Builder
			require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
				if err != nil || entry.IsDir() {
					return err
				}
				content, err := os.ReadFile(path)
				text.Write(content)
				return err
			}))
			for _, secret := range platform.Secrets() {
				require.Equal(t, form == lab.SecretsPlain, strings.Contains(text.String(), secret), "%s in form %s", secret, form)
			}
			require.Equal(t, form == lab.SecretsPlaceholder, strings.Contains(text.String(), "CHANGE-ME"))
			require.Contains(t, text.String(), "serverName: immich-database-v2")
			require.NotContains(t, text.String(), "{{ .Name }}")
		})
	}
	require.Error(t, platform.WriteTree(t.TempDir(), "unheard-of"))
}

func TestSeedPlatform(t *testing.T) {
	l := shared.Lab(t)
	k := l.Kubernetes
	t.Run("claims", func(t *testing.T) { claimsAreSeeded(t, k) })
	t.Run("sources", func(t *testing.T) { sourcesAreSeeded(t, k) })
	t.Run("databases", func(t *testing.T) { databasesAreSeeded(t, k) })
	require.NoError(t, k.SeedPlatform(t.Context(), l.Platform, l.GitOps), "seeding again changes nothing")
}

func claimsAreSeeded(t *testing.T, k *lab.Kubernetes) {
	found, err := clientFor(t, k, lab.AdminUser).CoreV1().PersistentVolumeClaims("").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	got := map[string]corev1.PersistentVolumeClaim{}
	for _, claim := range found.Items {
		got[claim.Namespace+"/"+claim.Name] = claim
	}
	wanted := 0
	for _, claim := range lab.PlatformClaims() {
		if !claim.InCluster {
			continue
		}
		wanted++
		name := claim.Namespace + "/" + claim.Name
		require.Contains(t, got, name)
		require.Equal(t, claim.Backup, got[name].Labels["backup"], name)
		require.Equal(t, claim.CNPGCluster, got[name].Labels["cnpg.io/cluster"], name)
		want := corev1.ClaimBound
		if claim.Pending {
			want = corev1.ClaimPending
		}
		require.Equal(t, want, got[name].Status.Phase, name)
	}
	require.Len(t, got, wanted)
}

func sourcesAreSeeded(t *testing.T, k *lab.Kubernetes) {
	applier, err := k.Applier()
	require.NoError(t, err)
	for _, claim := range lab.PlatformClaims() {
		if !claim.Source {
			continue
		}
		object := decodeOne(t, "apiVersion: volsync.backube/v1alpha1\nkind: ReplicationSource\nmetadata: {name: "+claim.Name+"-backup, namespace: "+claim.Namespace+"}\n")
		source, err := applier.Get(t.Context(), object)
		require.NoError(t, err)
		spec := source.Object["spec"].(map[string]any)
		require.Equal(t, claim.Name, spec["sourcePVC"])
		kopia := spec["kopia"].(map[string]any)
		require.Equal(t, "volsync-"+claim.Name, kopia["repository"])
		require.Equal(t, claim.PathOverride, textOf(kopia["sourcePathOverride"]))
		require.Equal(t, claim.Username, textOf(kopia["username"]))
		require.Equal(t, claim.SourcePaused, spec["paused"] == true)
		require.Equal(t, len(claim.Snapshots) > 0, source.Object["status"] != nil, claim.Name)
	}
}

func textOf(value any) string {
	text, _ := value.(string)
	return text
}

func databasesAreSeeded(t *testing.T, k *lab.Kubernetes) {
	applier, err := k.Applier()
	require.NoError(t, err)
	for _, database := range lab.PlatformDatabases() {
		cluster, err := applier.Get(t.Context(), decodeOne(t,
			"apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: "+database.Name+", namespace: "+database.Namespace+"}\n"))
		require.NoError(t, err)
		require.Equal(t, "Cluster in healthy state", cluster.Object["status"].(map[string]any)["phase"])
		_, plugin := cluster.Object["spec"].(map[string]any)["plugins"]
		require.Equal(t, database.Plugin, plugin)
	}
}
