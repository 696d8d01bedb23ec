package platform

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// patient is how long a controller may take on a busy machine.
const patient = time.Minute

// cluster is a real API server with the real controllers and scheduler, and no kubelet.
type cluster struct {
	*testing.T
	*API
	kube *kube.Client
	lab  *lab.Kubernetes
}

// TestOnARealCluster has one control plane for all subjects, each in a namespace of its own. What is asked of an
// empty cluster comes first.
func TestOnARealCluster(t *testing.T) {
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true, Scheduler: true, Users: []string{lab.NobodyUser}})
	require.NoError(t, err)
	client, err := kube.New(kube.Options{REST: k.RESTConfig()})
	require.NoError(t, err)
	for _, subject := range []struct {
		name string
		run  func(c *cluster)
	}{
		{"empty", readsAnEmptyCluster}, {"definitions", findsDefinitions}, {"nodes", readsNodes}, {"network", findsTheNetwork}, {"classes", readsClasses},
		{"secrets", appliesSecrets}, {"secrets-owned", keepsWhatOthersApplied}, {"root", appliesTheRoot}, {"claims", readsClaims},
		{"pods", findsTroublesOfPods}, {"pending", findsPendingClaims}, {"jobs", findsFailedJobs}, {"creation", findsForbiddenCreations}, {"many", looksAtManyNamespaces},
	} {
		t.Run(subject.name, func(t *testing.T) {
			c := &cluster{T: t, API: New(client), kube: client, lab: k}
			c.create(core("namespaces"), `{apiVersion: v1, kind: Namespace, metadata: {name: `+subject.name+`}}`)
			subject.run(c)
		})
	}
}

func (c *cluster) object(text string) *unstructured.Unstructured {
	c.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(c, err)
	object := &unstructured.Unstructured{}
	require.NoError(c, object.UnmarshalJSON(encoded))
	return object
}

// create retries for as long as a definition that was just made is not served.
func (c *cluster) create(kind gvr, text string) *unstructured.Unstructured {
	c.Helper()
	object := c.object(text)
	var made *unstructured.Unstructured
	var err error
	for deadline := time.Now().Add(patient); ; time.Sleep(50 * time.Millisecond) {
		made, err = c.kube.Create(c.Context(), kind, object, writeAs("somebody"))
		if !errors.Is(err, recovery.ErrNotFound) || time.Now().After(deadline) {
			break
		}
	}
	require.NoError(c, err)
	return made
}

// status writes the status of an object, as its controller or the kubelet does.
func (c *cluster) status(kind gvr, namespace, name, text string) {
	c.Helper()
	body, err := yaml.YAMLToJSON([]byte("status: " + text))
	require.NoError(c, err)
	_, err = c.kube.PatchMerge(c.Context(), kind, namespace, name, body, kube.WriteOptions{FieldManager: "kubelet"}, "status")
	require.NoError(c, err)
}

func (c *cluster) get(kind gvr, namespace, name string) *unstructured.Unstructured {
	c.Helper()
	object, err := c.kube.Get(c.Context(), kind, namespace, name)
	require.NoError(c, err)
	return object
}

func readsAnEmptyCluster(c *cluster) {
	version, err := c.Version(c.Context())
	require.NoError(c, err)
	require.Regexp(c, `^1\.\d+\.\d+`, version)
	admin, err := c.Admin(c.Context())
	require.NoError(c, err)
	require.True(c, admin)
	config, err := c.lab.RESTConfigFor(lab.NobodyUser)
	require.NoError(c, err)
	nobody, err := kube.New(kube.Options{REST: config})
	require.NoError(c, err)
	admin, err = New(nobody).Admin(c.Context())
	require.NoError(c, err)
	require.False(c, admin)

	nodes, err := c.Nodes(c.Context())
	require.NoError(c, err)
	require.Empty(c, nodes)
	network, err := c.Network(c.Context())
	require.NoError(c, err)
	require.Nil(c, network)
	names, standard, err := c.StorageClasses(c.Context())
	require.NoError(c, err)
	require.Empty(c, names)
	require.Empty(c, standard)
	troubles, err := c.Troubles(c.Context(), nil)
	require.NoError(c, err)
	require.Equal(c, []recovery.Trouble{}, troubles)
	require.ErrorIs(c, c.ApplyRoot(c.Context(), []byte(rootManifest)), recovery.ErrNotFound, "Argo CD is not there")
}

func findsDefinitions(c *cluster) {
	established, err := c.Definition(c.Context(), "applications.argoproj.io")
	require.NoError(c, err)
	require.False(c, established)
	require.NoError(c, c.lab.ApplyCRDs(c.Context()))
	require.Eventually(c, func() bool {
		established, err = c.Definition(c.Context(), "applications.argoproj.io")
		require.NoError(c, err)
		return established
	}, patient, 50*time.Millisecond)
}

func readsNodes(c *cluster) {
	c.create(core("nodes"), `{apiVersion: v1, kind: Node, metadata: {name: node-c}}`)
	c.create(core("nodes"), `{apiVersion: v1, kind: Node, metadata: {name: node-a}}`)
	c.status(core("nodes"), "", "node-a", `{conditions: [{type: Ready, status: "True", reason: KubeletReady}]}`)
	c.create(core("nodes"), `{apiVersion: v1, kind: Node, metadata: {name: node-b}}`)
	c.status(core("nodes"), "", "node-b", `{conditions: [{type: Ready, status: "False", reason: KubeletNotReady, message: "container runtime network not ready:\n cni plugin not initialized"}]}`)
	nodes, err := c.Nodes(c.Context())
	require.NoError(c, err)
	require.Equal(c, []recovery.Node{
		{Name: "node-a", Ready: true},
		{Name: "node-b", Why: "KubeletNotReady: container runtime network not ready: cni plugin not initialized"},
		{Name: "node-c", Why: "the kubelet has not reported yet"},
	}, nodes)
}

func readsClasses(c *cluster) {
	classes := gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	c.create(classes, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: longhorn, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}, provisioner: p}`)
	c.create(classes, `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: local}, provisioner: p}`)
	names, standard, err := c.StorageClasses(c.Context())
	require.NoError(c, err)
	require.Equal(c, []string{"local", "longhorn"}, names)
	require.Equal(c, "longhorn", standard)
}

func readsClaims(c *cluster) {
	c.claim("claims", "library", `labels: {backup: daily}`, `dataSourceRef: {apiGroup: volsync.backube, kind: ReplicationDestination, name: library-backup},`)
	c.claim("claims", "new", `labels: {backup: hourly}`, "")
	c.claim("claims", "cache", `labels: {app: a}`, "")
	c.status(core("persistentvolumeclaims"), "claims", "new", `{phase: Bound}`)
	claims, err := c.Claims(c.Context())
	require.NoError(c, err)
	require.Len(c, claims, 2)
	for i := range claims {
		require.Less(c, time.Since(claims[i].CreatedAt), time.Hour)
		claims[i].CreatedAt = time.Time{}
	}
	require.Equal(c, []recovery.RestoringClaim{
		{Namespace: "claims", Name: "library", Phase: "Pending", Source: "library-backup"}, {Namespace: "claims", Name: "new", Phase: "Bound"},
	}, claims)
}

// claim makes one of class "none", which nothing provisions.
func (c *cluster) claim(namespace, name, metadata, spec string) {
	c.Helper()
	c.create(core("persistentvolumeclaims"), strings.NewReplacer("%NS%", namespace, "%NAME%", name, "%META%", metadata, "%SPEC%", spec).Replace(
		`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: %NS%, name: %NAME%, %META%},
		spec: {%SPEC% storageClassName: none, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`))
}

func writeAs(manager string) kube.WriteOptions { return kube.WriteOptions{FieldManager: manager} }
