package platform

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/drctl/drctl/internal/recovery"
)

// plugin is a CNI that is known by the name of its agent's DaemonSet.
type plugin struct {
	name, daemonSet, container string
	// operator is the Deployment in the agent's namespace that the plugin can't do without; needed says that
	// there always is one.
	operator string
	needed   bool
}

// knownPlugins, the one that does more first: Cilium may run on top of another one.
func knownPlugins() []plugin {
	return []plugin{
		{name: "cilium", daemonSet: "cilium", container: "cilium-agent", operator: "cilium-operator", needed: true},
		{name: "calico", daemonSet: "calico-node", container: "calico-node", operator: "calico-kube-controllers"},
		{name: "canal", daemonSet: "canal", container: "calico-node"},
		{name: "flannel", daemonSet: "kube-flannel-ds", container: "kube-flannel"},
		{name: "flannel", daemonSet: "kube-flannel", container: "kube-flannel"},
		{name: "antrea", daemonSet: "antrea-agent", container: "antrea-agent", operator: "antrea-controller", needed: true},
		{name: "kube-router", daemonSet: "kube-router", container: "kube-router"},
		{name: "weave", daemonSet: "weave-net", container: "weave"},
		{name: "kindnet", daemonSet: "kindnet", container: "kindnet-cni"},
		{name: "aws-vpc-cni", daemonSet: "aws-node", container: "aws-node"},
		{name: "ovn-kubernetes", daemonSet: "ovnkube-node", container: "ovnkube-controller"},
	}
}

// chained are DaemonSets that install a CNI plugin beside another one, and connect no Pods by themselves.
func chained() []string {
	return []string{"kube-multus-ds", "multus", "istio-cni-node", "linkerd-cni", "cilium-envoy"}
}

// Network is the CNI's agent, nil when no DaemonSet is one: then Pods may still be connected by a plugin that the
// distribution runs outside of the cluster.
func (a *API) Network(ctx context.Context) (*recovery.Network, error) {
	items, err := a.client.ListWhere(ctx, apps("daemonsets"), "", "")
	if err != nil {
		return nil, err
	}
	daemonSets, err := readAll[appsv1.DaemonSet](items)
	if err != nil {
		return nil, err
	}
	agent, known := agentOf(daemonSets)
	if agent == nil {
		return nil, nil
	}
	network := &recovery.Network{
		Plugin: known.name, Version: agentVersion(agent, known.container), OperatorReady: true,
		Desired: int(agent.Status.DesiredNumberScheduled), Ready: int(agent.Status.NumberReady),
	}
	if known.operator != "" {
		network.OperatorReady, err = a.available(ctx, agent.Namespace, known.operator, !known.needed)
	}
	return network, err
}

// agentOf finds the agent: a known one, in kube-system before elsewhere, else one that writes where container
// runtimes look for plugins.
func agentOf(daemonSets []appsv1.DaemonSet) (*appsv1.DaemonSet, plugin) {
	slices.SortStableFunc(daemonSets, func(x, y appsv1.DaemonSet) int {
		rank := func(set appsv1.DaemonSet) string {
			if set.Namespace == "kube-system" {
				return ""
			}
			return set.Namespace + "/" + set.Name
		}
		return strings.Compare(rank(x), rank(y))
	})
	for _, known := range knownPlugins() {
		for i := range daemonSets {
			if daemonSets[i].Name == known.daemonSet {
				return &daemonSets[i], known
			}
		}
	}
	for i := range daemonSets {
		if set := &daemonSets[i]; installsPlugin(set) && !slices.Contains(chained(), set.Name) {
			return set, plugin{name: set.Name}
		}
	}
	return nil, plugin{}
}

// installsPlugin: it mounts the folders of CNI plugins or of their configuration from the node.
// Source: containerd docs/cri/config.md, conf_dir and bin_dir.
func installsPlugin(set *appsv1.DaemonSet) bool {
	return slices.ContainsFunc(set.Spec.Template.Spec.Volumes, func(volume corev1.Volume) bool {
		return volume.HostPath != nil && (strings.HasPrefix(volume.HostPath.Path, "/etc/cni/") || strings.HasPrefix(volume.HostPath.Path, "/opt/cni/bin"))
	})
}

// agentVersion is that of the agent's container, of the first one where it has none of that name.
func agentVersion(set *appsv1.DaemonSet, container string) string {
	containers := set.Spec.Template.Spec.Containers
	for _, candidate := range containers {
		if candidate.Name == container {
			return imageVersion(candidate.Image)
		}
	}
	if len(containers) == 0 {
		return ""
	}
	return imageVersion(containers[0].Image)
}

// imageVersion is an image's tag without a leading "v", and without the digest; empty when it has none.
func imageVersion(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndex(image, "/")+1:] // a colon before it is that of the registry's port
	_, tag, _ := strings.Cut(name, ":")
	if version := strings.TrimPrefix(tag, "v"); version != "" && version[0] >= '0' && version[0] <= '9' {
		return version
	}
	return tag
}

// available reports whether a Deployment is; orNone is the answer when there is none.
func (a *API) available(ctx context.Context, namespace, name string, orNone bool) (bool, error) {
	object, err := a.client.Get(ctx, apps("deployments"), namespace, name)
	if err != nil {
		return orNone && absent(err) == nil, absent(err)
	}
	var deployment appsv1.Deployment
	if err := read(object, &deployment); err != nil {
		return false, err
	}
	return slices.ContainsFunc(deployment.Status.Conditions, func(condition appsv1.DeploymentCondition) bool {
		return condition.Type == appsv1.DeploymentAvailable && condition.Status == corev1.ConditionTrue
	}), nil
}
