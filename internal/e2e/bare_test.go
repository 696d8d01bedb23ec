package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// bareCluster has two namespaces with a labelled claim each, none of the platform's definitions, and
// a user who may list namespaces, but claims in one of them only.
const bareCluster = `
{apiVersion: v1, kind: Namespace, metadata: {name: mine}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: theirs}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: mine, name: data, labels: {backup: hourly}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: theirs, name: data, labels: {backup: hourly}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: namespaces}, rules: [{apiGroups: [""], resources: [namespaces], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: namespaces}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: namespaces}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: partial}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {namespace: mine, name: claims}, rules: [{apiGroups: [""], resources: [persistentvolumeclaims], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {namespace: mine, name: claims}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: claims}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: partial}]}
`

// TestAClusterWithoutDefinitionsAndRights: what can be read is printed, the rest is a warning and exit
// code 3.
func TestAClusterWithoutDefinitionsAndRights(t *testing.T) {
	l := shared.Lab(t)
	cluster, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{Users: []string{"partial"}})
	require.NoError(t, err)
	applier, err := cluster.Applier()
	require.NoError(t, err)
	for _, document := range strings.Split(bareCluster, "---\n") {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object))
		require.NoError(t, applier.Apply(t.Context(), object))
	}
	environment := func(kubeconfig string) []string {
		return []string{"KUBECONFIG=" + kubeconfig, "DRCTL_REPO=" + l.Repository, "KOPIA_PASSWORD=" + l.Platform.KopiaPassword}
	}

	got := run(t, l, environment(cluster.Kubeconfig), "pvc", "list")
	require.Equal(t, 3, got.code, got.stdout+got.stderr)
	require.Regexp(t, `mine +data +unknown`, got.stdout, "whether a ReplicationSource exists cannot be known")
	require.Regexp(t, `theirs +data +unknown`, got.stdout)
	require.Contains(t, got.stderr, "replicationsources")
	got = run(t, l, environment(cluster.Kubeconfig), "cnpg", "list")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "CloudNativePG")

	partial, err := cluster.KubeconfigFor("partial")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got = run(t, l, environment(partial), "pvc", "list")
		return strings.Contains(got.stdout, "mine")
	}, time.Minute, 100*time.Millisecond, "the API server acts on a new Role a little later")
	require.Equal(t, 3, got.code, got.stderr)
	require.NotRegexp(t, `theirs +data`, got.stdout)
	require.Regexp(t, `Warning: .*theirs`, got.stderr)
}
