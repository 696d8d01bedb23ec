package platform

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const agent = `selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: `

func findsTheNetwork(c *cluster) {
	network := func() *recovery.Network {
		found, err := c.Network(c.Context())
		require.NoError(c, err)
		return found
	}
	c.create(apps("daemonsets"), `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: network, name: logs}, spec: {`+agent+`{containers: [{name: a, image: logs:1}]}}}}`)
	c.create(apps("daemonsets"), `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: network, name: kube-multus-ds}, spec: {`+agent+
		`{containers: [{name: a, image: multus:4}], volumes: [{name: b, hostPath: {path: /opt/cni/bin}}]}}}}`)
	require.Nil(c, network(), "neither connects Pods by itself")
	c.create(apps("daemonsets"), `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: network, name: wires}, spec: {`+agent+
		`{containers: [{name: a, image: "wires@sha256:aa"}], volumes: [{name: b, hostPath: {path: /etc/cni/net.d}}]}}}}`)
	require.Equal(c, &recovery.Network{Plugin: "wires", OperatorReady: true, Desired: 1}, withoutCounts(network()))

	c.create(apps("daemonsets"), `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: network, name: calico-node}, spec: {`+agent+`{containers: [{name: calico-node, image: "calico/node:v3.29.1"}]}}}}`)
	require.Equal(c, &recovery.Network{Plugin: "calico", Version: "3.29.1", OperatorReady: true, Desired: 1}, withoutCounts(network()), "its operator may run elsewhere")
	c.create(apps("daemonsets"), `{apiVersion: apps/v1, kind: DaemonSet, metadata: {namespace: kube-system, name: cilium}, spec: {`+agent+
		`{containers: [{name: side, image: "side:9"}, {name: cilium-agent, image: "registry.example.invalid:5000/cilium/cilium:v1.18.2@sha256:858f807ea4e20e85e3ea3240a762e1f4b29f1cb5bbd0463b8aa77e7b097c0667"}]}}}}`)
	require.False(c, network().OperatorReady, "Cilium always has one")
	c.create(apps("deployments"), `{apiVersion: apps/v1, kind: Deployment, metadata: {namespace: kube-system, name: cilium-operator}, spec: {replicas: 0, `+agent+`{containers: [{name: a, image: a}]}}}}`)
	c.status(apps("deployments"), "kube-system", "cilium-operator", `{conditions: [{type: Available, status: "True"}]}`)
	require.Equal(c, &recovery.Network{Plugin: "cilium", Version: "1.18.2", OperatorReady: true, Desired: 1}, withoutCounts(network()))
	for name, namespace := range map[string]string{"cilium": "kube-system", "calico-node": "network"} {
		require.NoError(c, c.kube.Delete(c.Context(), apps("daemonsets"), namespace, name, kube.Preconditions{}, metav1.DeletePropagationBackground))
	}
}

// withoutCounts: how many nodes an agent is wanted on is the DaemonSet controller's; that both are read is seen below.
func withoutCounts(network *recovery.Network) *recovery.Network {
	if network != nil {
		network.Desired, network.Ready = 1, 0
	}
	return network
}

func TestImageVersion(t *testing.T) {
	for image, want := range map[string]string{
		"quay.io/cilium/cilium:v1.18.2@sha256:aa": "1.18.2", "cilium": "", "cilium@sha256:aa": "", "localhost:5000/cilium": "",
		"localhost:5000/cilium:1.17.0-rc.1": "1.17.0-rc.1", "flannel:latest": "latest", "flannel:vnext": "vnext", "": "",
	} {
		require.Equal(t, want, imageVersion(image), image)
	}
}
