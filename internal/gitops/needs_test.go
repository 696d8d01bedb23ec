package gitops

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

func TestSecrets(t *testing.T) {
	needs, gaps, err := installed(t).Secrets(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{
		"find out who makes Secret kyverno/registry: ServiceAccount kyverno/puller uses it; chart kyverno goes into the same namespace and may make it, " +
			"which the tree alone does not tell (if nothing makes it, bring it yourself)",
	}, gapTexts(gaps))
	const server, cluster = "StatefulSet immich/server", "Cluster cloudnative-pg/immich-database"
	whole := []string{}
	require.Equal(t, []recovery.SecretNeed{
		{Namespace: "cert-manager", Name: "cloudflare", Keys: []string{"token"}, UsedBy: []string{"ClusterIssuer le"}},
		{Namespace: "certificates", Name: "by-hand-tls", Keys: []string{"tls.crt", "tls.key"}, UsedBy: []string{"Gateway gateway/public"}},
		{Namespace: "cloudnative-pg", Name: "cnpg-s3-credentials", Keys: []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, UsedBy: []string{cluster}, Template: "secrets/cloudnative-pg/cnpg-s3-credentials.yaml"},
		{Namespace: "cloudnative-pg", Name: "immich-app-secret", Keys: []string{"password", "username"}, UsedBy: []string{cluster}},
		{Namespace: "immich", Name: "api-key", Keys: []string{"token"}, UsedBy: []string{server}},
		{Namespace: "immich", Name: "immich-db-credentials", Keys: []string{"password", "username"}, UsedBy: []string{server}},
		{Namespace: "immich", Name: "tuning", Keys: whole, UsedBy: []string{server}, Optional: true},
		{Namespace: "kyverno-sources", Name: "pull", Keys: whole, UsedBy: []string{"ClusterPolicy restore"}},
		{Namespace: "volsync-system", Name: "kopia-credentials", Keys: []string{"KOPIA_PASSWORD"}, UsedBy: []string{"ClusterPolicy restore", "Deployment volsync-system/pvc-plumber"}, Template: "secrets/volsync-system/kopia-credentials.yaml"},
	}, needs, "made in the cluster: generated, from-vault, wildcard-tls, shimmed-tls, le-account, volsync-library, immich/pull; of no Application: old, off, draft")
}

// TestSecretsWithoutARoot: what Argo CD will sync is not known, so everything counts, and nothing counts as brought.
func TestSecretsWithoutARoot(t *testing.T) {
	needs, _, err := platformOf(t, `
-- app/pod.yaml --
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: space}
spec: {containers: [{name: c, envFrom: [{secretRef: {name: s}}]}]}
-- app/secret.yaml --
apiVersion: v1
kind: Secret
metadata: {name: s}
`).Secrets(t.Context())
	require.NoError(t, err)
	require.Equal(t, []recovery.SecretNeed{{Namespace: "space", Name: "s", Keys: []string{}, UsedBy: []string{"Pod space/p"}, Template: "app/secret.yaml"}}, needs)
}

const oneApp = `-- argocd/root.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: root}
spec: {source: {repoURL: r, path: apps}}
-- apps/app.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: app}
spec: {source: {repoURL: r, path: app}, destination: {namespace: space}}
`

func TestWhoMakesASecret(t *testing.T) {
	const pod = "-- app/pod.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, envFrom: [{secretRef: {name: db-app}}]}]}\n"
	for name, test := range map[string]struct {
		files  string
		needed bool
	}{
		"nobody":                           {"", true},
		"a plain Secret":                   {"-- app/s.yaml --\napiVersion: v1\nkind: Secret\nmetadata: {name: db-app}\n", false},
		"in another namespace":             {"-- app/s.yaml --\napiVersion: v1\nkind: Secret\nmetadata: {name: db-app, namespace: other}\n", true},
		"not synced":                       {"-- secrets/s.yaml --\napiVersion: v1\nkind: Secret\nmetadata: {name: db-app, namespace: space}\n", true},
		"a SealedSecret":                   {"-- app/s.yaml --\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db-app}\n", false},
		"a ClusterExternalSecret":          {"-- app/s.yaml --\napiVersion: external-secrets.io/v1\nkind: ClusterExternalSecret\nmetadata: {name: x}\nspec: {externalSecretName: db-app}\n", false},
		"CloudNativePG":                    {"-- app/s.yaml --\napiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: db}\nspec: {storage: {size: 1Gi}}\n", false},
		"CloudNativePG is told of another": {"-- app/s.yaml --\napiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: db}\nspec: {bootstrap: {initdb: {secret: {name: db-app}}}}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			needs, gaps, err := platformOf(t, oneApp+pod+test.files).Secrets(t.Context())
			require.NoError(t, err)
			require.Empty(t, gaps)
			require.Equal(t, test.needed, len(needs) == 1 && needs[0].Name == "db-app", "%v", needs)
		})
	}
}

// TestSecretsOfWhatCanNotBeRead: a Pod template that can't be decoded may need any Secret, which is told.
func TestSecretsOfWhatCanNotBeRead(t *testing.T) {
	needs, gaps, err := platformOf(t, oneApp+"-- app/pod.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: none}\n").Secrets(t.Context())
	require.NoError(t, err)
	require.Empty(t, needs)
	require.Len(t, gaps, 1)
	require.Contains(t, gaps[0].Error(), "read the Pod template of Pod")
}

func TestStorageClasses(t *testing.T) {
	classes, err := installed(t).StorageClasses(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"", "fast", "longhorn"}, classes)
	classes, err = platformOf(t, oneApp+"-- app/pvc.yaml --\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {storageClassName: \"\", volumeName: v}\n").StorageClasses(t.Context())
	require.NoError(t, err)
	require.Empty(t, classes, "no class at all is asked for")
}

func TestDefinitions(t *testing.T) {
	names, err := installed(t).Definitions(t.Context())
	require.NoError(t, err)
	const group = ".gateway.networking.k8s.io"
	require.Equal(t, []string{"gatewayclasses" + group, "gateways" + group, "grpcroutes" + group, "httproutes" + group, "referencegrants" + group}, names, "Cilium's values turn the Gateway API on")
	const gateway = "-- app/g.yaml --\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n"
	const class = "-- app/c.yaml --\napiVersion: snapshot.storage.k8s.io/v1\nkind: VolumeSnapshotClass\nmetadata: {name: c}\n"
	for _, test := range []struct {
		files string
		want  []string
	}{
		{gateway, []string{"gateways" + group}},
		{class, []string{"volumesnapshotclasses.snapshot.storage.k8s.io"}},
		{gateway + "-- app/d.yaml --\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gateways" + group + "}\n", []string{}},
		{gateway + "-- app/kustomization.yaml --\nresources: [g.yaml, \"https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.4.0/standard-install.yaml\"]\n", []string{}},
		{class + "-- app/kustomization.yaml --\nresources: [c.yaml]\nhelmCharts: [{name: snapshot-controller, repo: \"https://charts.example.invalid\", version: 1.0.0}]\n", []string{}},
	} {
		names, err := platformOf(t, oneApp+test.files).Definitions(t.Context())
		require.NoError(t, err)
		require.Equal(t, test.want, names, test.files)
	}
}

func TestExports(t *testing.T) {
	exports, err := installed(t).Exports(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"Deployment volsync-system/pvc-plumber": "192.0.2.1:/mnt/backup/volsync", "ClusterPolicy volsync-nfs-inject": "192.0.2.1:/mnt/backup/other",
	}, exports)
}

// TestLabsPlatform reads the tree that the lab plays, in which only databases and applications are synced.
func TestLabsPlatform(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, lab.Platform{
		EndpointURL: "https://s3.example.invalid", KopiaPassword: "canary-4711", AccessKeyID: "canary-4712", SecretAccessKey: "canary-4713",
		NFSServer: "192.0.2.1", NFSPath: "/mnt/backup/volsync",
	}.WriteTree(dir, lab.SecretsPlaceholder))
	tree, gaps, err := Open(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, gaps)
	platform := NewPlatform(tree)
	_, file, err := platform.Root(t.Context())
	require.NoError(t, err)
	require.Equal(t, "infrastructure/controllers/argocd/root.yaml", file)
	planned, gaps, err := platform.Applications(t.Context())
	require.NoError(t, err)
	require.Empty(t, gaps)
	var names []string
	for _, app := range planned {
		names = append(names, app.Name)
	}
	require.Equal(t, []string{"forgejo-database", "immich-database", "immich", "karakeep"}, names)
	needs, gaps, err := platform.Secrets(t.Context())
	require.NoError(t, err)
	require.Empty(t, gaps)
	names = nil
	for _, need := range needs {
		names = append(names, need.Namespace+"/"+need.Name)
		require.Equal(t, "secrets/"+need.Namespace+"/"+need.Name+".yaml", need.Template)
	}
	require.Equal(t, []string{"cloudnative-pg/cnpg-s3-credentials", "cloudnative-pg/immich-app-secret", "forgejo/cnpg-s3-credentials", "forgejo/forgejo-app-secret"}, names)
	classes, err := platform.StorageClasses(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"longhorn"}, classes)
	exports, err := platform.Exports(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"Deployment volsync-system/pvc-plumber": "192.0.2.1:/mnt/backup/volsync"}, exports)
	markers, err := platform.Markers(t.Context())
	require.NoError(t, err)
	require.Len(t, markers, 13, "each value of each Secret")
}
