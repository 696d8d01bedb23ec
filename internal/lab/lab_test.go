package lab_test

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/drctl/drctl/internal/lab"
)

var shared lab.Shared

func TestMain(m *testing.M) { shared.Run(m) }

func TestLab(t *testing.T) {
	begin := time.Now()
	l := shared.Lab(t)
	t.Logf("the lab was up after %s", time.Since(begin))
	t.Run("the bucket holds every server of every database", func(t *testing.T) { bucketFitsTheDatabases(t, l) })
	t.Run("the repository is there", func(t *testing.T) {
		require.FileExists(t, filepath.Join(l.Repository, "kopia.repository.f"))
	})
	t.Run("the environment and the description", func(t *testing.T) { describesItself(t, l) })
	t.Run("rights to read", func(t *testing.T) { readRightsAreEnoughAndLeast(t, l) })
}

func bucketFitsTheDatabases(t *testing.T, l *lab.Lab) {
	client := s3.New(s3.Options{
		BaseEndpoint: &l.MinIO.EndpointURL, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(l.MinIO.AccessKeyID, l.MinIO.SecretAccessKey, ""),
	})
	for _, database := range lab.PlatformDatabases() {
		place, err := url.Parse(database.DestinationPath)
		require.NoError(t, err)
		for _, server := range database.Servers {
			listed, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{
				Bucket: &place.Host, Prefix: aws.String(strings.TrimPrefix(place.Path, "/") + "/" + server + "/base/"), MaxKeys: aws.Int32(1),
			})
			require.NoError(t, err)
			require.Len(t, listed.Contents, 1, "%s/%s has no base backup", database.DestinationPath, server)
		}
	}
}

func describesItself(t *testing.T, l *lab.Lab) {
	require.Contains(t, l.Environment(), "DRCTL_REPO="+l.Repository)
	require.Contains(t, l.Environment(), "KUBECONFIG="+l.Kubernetes.Kubeconfig)
	require.Contains(t, l.String(), l.Kubernetes.URL)
	secrets := l.Secrets()
	require.Greater(t, len(secrets), 6)
	for _, secret := range secrets {
		require.Contains(t, secret, "CANARY", "every secret of the lab can be recognised")
		require.NotContains(t, l.String(), secret)
	}
}

// readable is every kind that the shipped ClusterRole lists and the lab serves, with one object of it.
func readable() map[schema.GroupVersionResource]string {
	return map[schema.GroupVersionResource]string{
		{Version: "v1", Resource: "namespaces"}:                                         "/karakeep",
		{Version: "v1", Resource: "persistentvolumeclaims"}:                             "karakeep/data-pvc",
		{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationsources"}: "karakeep/data-pvc-backup",
		{Group: "postgresql.cnpg.io", Version: "v1", Resource: "clusters"}:              "cloudnative-pg/immich-database",
		{Group: "postgresql.cnpg.io", Version: "v1", Resource: "scheduledbackups"}:      "cloudnative-pg/immich-database-daily",
		{Group: "barmancloud.cnpg.io", Version: "v1", Resource: "objectstores"}:         "forgejo/forgejo-store",
		{Group: "apps", Version: "v1", Resource: "deployments"}:                         "",
	}
}

func readRightsAreEnoughAndLeast(t *testing.T, l *lab.Lab) {
	config, err := l.Kubernetes.RESTConfigFor(lab.ReaderUser)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	for resource := range readable() {
		_, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "before the grant, %s: %v", resource.Resource, err)
	}
	require.NoError(t, l.GrantRead(t.Context(), lab.ReaderUser))
	for resource, object := range readable() {
		canReadAndNothingElse(t, client, resource, object)
	}
	secretsAreReadByNameAlone(t, client)
	for _, denied := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "nodes"},
		{Version: "v1", Resource: "persistentvolumes"}, {Version: "v1", Resource: "serviceaccounts"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
		{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
		{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationdestinations"}, {Group: "postgresql.cnpg.io", Version: "v1", Resource: "backups"},
	} {
		_, err := client.Resource(denied).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "%s: %v", denied.Resource, err)
	}
}

func canReadAndNothingElse(t *testing.T, client dynamic.Interface, resource schema.GroupVersionResource, object string) {
	t.Helper()
	listed, err := client.Resource(resource).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err, resource.Resource)
	require.NotEmpty(t, listed.Items, resource.Resource)
	_, err = client.Resource(resource).Watch(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "watch %s: %v", resource.Resource, err)
	if object == "" {
		return
	}
	namespace, name, _ := strings.Cut(object, "/")
	one := client.Resource(resource).Namespace(namespace)
	// Whole kinds are listed, and nothing is asked for one by one.
	_, err = one.Get(t.Context(), name, metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "get %s: %v", resource.Resource, err)
	at := slices.IndexFunc(listed.Items, func(item unstructured.Unstructured) bool {
		return item.GetNamespace() == namespace && item.GetName() == name
	})
	require.GreaterOrEqual(t, at, 0, "%s %s", resource.Resource, object)
	got := &listed.Items[at]
	for verb, err := range writes(t, one, got) {
		require.True(t, apierrors.IsForbidden(err), "%s %s: %v", verb, resource.Resource, err)
	}
}

// writes tries every way to change an object, as dry runs: only the right is asked about.
func writes(t *testing.T, client dynamic.ResourceInterface, object *unstructured.Unstructured) map[string]error {
	t.Helper()
	dry := []string{metav1.DryRunAll}
	fresh := object.DeepCopy()
	fresh.SetResourceVersion("")
	_, create := client.Create(t.Context(), fresh, metav1.CreateOptions{DryRun: dry})
	_, update := client.Update(t.Context(), object, metav1.UpdateOptions{DryRun: dry})
	_, patch := client.Patch(t.Context(), object.GetName(), types.MergePatchType, []byte(`{}`), metav1.PatchOptions{DryRun: dry})
	return map[string]error{
		"create": create, "update": update, "patch": patch,
		"delete":           client.Delete(t.Context(), object.GetName(), metav1.DeleteOptions{DryRun: dry}),
		"deletecollection": client.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{}),
	}
}

func secretsAreReadByNameAlone(t *testing.T, client dynamic.Interface) {
	t.Helper()
	secrets := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"})
	for _, allowed := range []string{"volsync-system/kopia-credentials", "cloudnative-pg/cnpg-s3-credentials", "forgejo/cnpg-s3-credentials"} {
		namespace, name, _ := strings.Cut(allowed, "/")
		_, err := secrets.Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.NoError(t, err, allowed)
		_, err = secrets.Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		require.True(t, apierrors.IsForbidden(err), "list Secrets of %s: %v", namespace, err)
	}
	for _, denied := range []string{"cloudnative-pg/immich-app-secret", "karakeep/karakeep-secret", "karakeep/volsync-data-pvc"} {
		namespace, name, _ := strings.Cut(denied, "/")
		_, err := secrets.Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.True(t, apierrors.IsForbidden(err), "%s: %v", denied, err)
	}
}
