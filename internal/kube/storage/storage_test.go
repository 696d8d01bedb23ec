package storage

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/lab"
)

// within bounds what a controller needs on a busy machine.
const within = time.Minute

// cluster is a real API server with the real controllers, and no kubelet.
type cluster struct {
	*testing.T
	*API
	kube *kube.Client
}

// TestOnARealCluster has one control plane for all subjects, each in a namespace of its own.
func TestOnARealCluster(t *testing.T) {
	k, err := lab.ForTest(t).ControlPlane(t.Context(), lab.ControlPlaneOptions{ControllerManager: true})
	require.NoError(t, err)
	require.NoError(t, k.ApplyCRDs(t.Context()))
	client, err := kube.New(kube.Options{REST: k.RESTConfig()})
	require.NoError(t, err)
	for _, subject := range []struct {
		name string
		run  func(c *cluster)
	}{
		{"claims", readsClaims}, {"creation", createsClaims}, {"release", releasesClaims}, {"release-unowned", releasesUnowned}, {"volumes", keepsVolumes},
		{"pods", findsPods}, {"nodes", losesNodes}, {"consumer", makesConsumers}, {"touch", touches}, {"generated", findsGenerated},
		{"classes", readsClasses}, {"snapshots", takesSnapshots}, {"events", tellsEvents},
	} {
		t.Run(subject.name, func(t *testing.T) {
			c := &cluster{T: t, API: New(client, kube.NewWatches(t.Context(), client, []string{subject.name})), kube: client}
			c.create(core("namespaces"), `{apiVersion: v1, kind: Namespace, metadata: {name: `+subject.name+`, labels: {pod-security.kubernetes.io/enforce: restricted}}}`)
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
	require.Eventually(c, func() bool {
		made, err = c.kube.Create(c.Context(), kind, object, kube.WriteOptions{FieldManager: "somebody"})
		return err == nil
	}, within, 50*time.Millisecond, "%v", err)
	return made
}

func (c *cluster) get(kind gvr, namespace, name string) *unstructured.Unstructured {
	c.Helper()
	object, err := c.kube.Get(c.Context(), kind, namespace, name)
	require.NoError(c, err)
	return object
}

func (c *cluster) manifest(text string) json.RawMessage {
	c.Helper()
	encoded, err := c.object(text).MarshalJSON()
	require.NoError(c, err)
	return encoded
}

// managers are the field managers of an object.
func managers(object *unstructured.Unstructured) []string {
	var names []string
	for _, entry := range object.GetManagedFields() {
		names = append(names, entry.Manager)
	}
	return names
}
