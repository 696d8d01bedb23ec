package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// oldestMinor is the oldest Kubernetes 1.x that the platform's parts support: ValidatingAdmissionPolicy, on which
// drctl's fences rest, is stable since 1.30.
// Source: kubernetes/enhancements KEP-3488.
const oldestMinor = 30

func (p *preflight) checkCluster(ctx context.Context) {
	if version, err := p.Cluster.Version(ctx); !p.skip(areaCluster, "version", err) {
		if minor, known := minorOf(version); known && minor < oldestMinor {
			p.add(areaCluster, "version", recovery.CheckFail, "Kubernetes "+version+" is older than 1."+strconv.Itoa(oldestMinor), "upgrade the cluster first")
		} else {
			p.ok(areaCluster, "version", "Kubernetes %s", version)
		}
	}
	if admin, err := p.Cluster.Admin(ctx); !p.skip(areaCluster, "permissions", err) {
		if admin {
			p.ok(areaCluster, "permissions", "this user may do everything, which Argo CD's own roles need")
		} else {
			p.add(areaCluster, "permissions", recovery.CheckFail, "this user may not do everything, and nobody can give Argo CD more than he has",
				"use the kubeconfig of a cluster-admin: --context, --kubeconfig")
		}
	}
	nodes, err := p.Cluster.Nodes(ctx)
	if p.skip(areaCluster, "nodes", err) {
		return
	}
	var lazy []string
	for _, node := range nodes {
		if !node.Ready {
			lazy = append(lazy, strings.TrimSuffix(node.Name+": "+node.Why, ": "))
		}
	}
	switch {
	case len(nodes) == 0:
		p.add(areaCluster, "nodes", recovery.CheckFail, "there is no node", "join one: nothing can run")
	case len(lazy) == len(nodes):
		p.add(areaCluster, "nodes", recovery.CheckFail, "no node is Ready ("+some(lazy)+")", "kubectl describe nodes; without a CNI none becomes ready")
	case len(lazy) > 0:
		p.add(areaCluster, "nodes", recovery.CheckWarn, fmt.Sprintf("%d of %d nodes are not Ready (%s)", len(lazy), len(nodes), some(lazy)), "kubectl describe nodes")
	default:
		p.ok(areaCluster, "nodes", "%s Ready", plural(len(nodes), "node"))
	}
}

func minorOf(version string) (int, bool) {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 2 {
		return 0, false
	}
	minor, err := strconv.Atoi(strings.TrimRight(parts[1], "+"))
	return minor, err == nil
}

// checkNetwork: the tree's Cilium is installed by Argo CD over the one that is there, in wave 0. Another version
// means that it upgrades the network below its own feet.
func (p *preflight) checkNetwork(ctx context.Context) {
	network, err := p.Cluster.Network(ctx)
	if p.skip(areaNetwork, "cni", err) {
		return
	}
	pin, pinErr := p.pinned(ctx, "cilium")
	switch {
	case network == nil && pin != nil:
		p.add(areaNetwork, "cni", recovery.CheckFail, "no CNI was found, and Argo CD's own Pods need one before it can install any",
			fmt.Sprintf("install Cilium %s first, with the tree's values (%s): cilium install --version %s", pin.Version, pin.Source, pin.Version))
		return
	case network == nil:
		p.add(areaNetwork, "cni", recovery.CheckWarn, "no CNI was found by its name", "when the nodes are Ready this is one that drctl does not know")
		return
	case network.Ready < network.Desired || network.Desired == 0 || !network.OperatorReady:
		p.add(areaNetwork, "cni", recovery.CheckFail, fmt.Sprintf("%s is not healthy: %d of %d agents ready%s", network.Plugin, network.Ready, network.Desired, operatorWords(network)),
			"kubectl -n kube-system get pods; cilium status --wait")
	default:
		p.ok(areaNetwork, "cni", "%s %s, %d of %d agents ready", network.Plugin, network.Version, network.Ready, network.Desired)
	}
	if p.skip(areaNetwork, "cilium-version", pinErr) || pin == nil {
		return
	}
	p.compareCilium(network, pin)
}

func operatorWords(network *recovery.Network) string {
	if network.OperatorReady {
		return ""
	}
	return ", its operator is not available"
}

func (p *preflight) compareCilium(network *recovery.Network, pin *recovery.ChartPin) {
	fix := fmt.Sprintf("make them agree before: cilium upgrade --version %s, or pin %s in %s", pin.Version, network.Version, pin.Source)
	switch {
	case network.Plugin != "cilium":
		p.add(areaNetwork, "cilium-version", recovery.CheckFail, fmt.Sprintf("the cluster runs %s, and the tree installs Cilium %s beside it (%s)", network.Plugin, pin.Version, pin.Source),
			"take the other CNI out, or Cilium out of the tree")
	case network.Version == "" || pin.Version == "":
		p.add(areaNetwork, "cilium-version", recovery.CheckSkip, fmt.Sprintf("the versions can't be compared: the image names %q, the tree %q", network.Version, pin.Version), fix)
	case network.Version != pin.Version:
		p.add(areaNetwork, "cilium-version", recovery.CheckFail,
			fmt.Sprintf("Cilium %s runs, and the tree pins %s (%s): Argo CD would change the network in wave 0, while everything starts", network.Version, pin.Version, pin.Source), fix)
	default:
		p.ok(areaNetwork, "cilium-version", "Cilium %s, as %s pins it", network.Version, pin.Source)
	}
}

// pinned is the tree's chart of that name, nil when there is none.
func (p *preflight) pinned(ctx context.Context, name string) (*recovery.ChartPin, error) {
	pins, _, err := p.Tree.Charts(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pins, func(pin recovery.ChartPin) bool { return pin.Name == name })
	if i < 0 {
		return nil, nil
	}
	pin := pins[i]
	pin.Version = strings.TrimPrefix(pin.Version, "v")
	return &pin, nil
}

func (p *preflight) checkStorage(ctx context.Context) {
	names, standard, err := p.Cluster.StorageClasses(ctx)
	if p.skip(areaStorage, "classes", err) {
		return
	}
	wanted, err := p.Tree.StorageClasses(ctx)
	if p.skip(areaStorage, "classes", err) {
		return
	}
	var missing []string
	for _, class := range wanted {
		switch {
		case class == "" && standard == "":
			missing = append(missing, "a default class")
		case class != "" && !slices.Contains(names, class):
			missing = append(missing, class)
		}
	}
	if len(missing) == 0 {
		p.ok(areaStorage, "classes", "%s there%s", strings.Join(wanted, ", "), inBrackets(standard, "default: "))
	} else if charts := p.bringing(ctx, missing); charts != "" {
		p.ok(areaStorage, "classes", "%s will come with %s", strings.Join(missing, ", "), charts)
	} else {
		p.add(areaStorage, "classes", recovery.CheckFail, strings.Join(missing, ", ")+" is not there, and no chart of the tree is named like it: claims would stay Pending",
			"create the storage class, or add its driver to the tree")
	}
	p.checkDefinitions(ctx)
}

func inBrackets(text, before string) string {
	if text == "" {
		return ""
	}
	return " (" + before + text + ")"
}

// bringing names the charts that make the classes, when there is one for each: a driver's class is named like it.
func (p *preflight) bringing(ctx context.Context, classes []string) string {
	pins, _, err := p.Tree.Charts(ctx)
	if err != nil {
		return ""
	}
	var charts []string
	for _, class := range classes {
		i := slices.IndexFunc(pins, func(pin recovery.ChartPin) bool {
			return strings.HasPrefix(class, pin.Name) || strings.HasPrefix(pin.Name, class)
		})
		if i < 0 {
			return ""
		}
		charts = append(charts, "chart "+pins[i].Name)
	}
	return strings.Join(slices.Compact(charts), ", ")
}

func (p *preflight) checkDefinitions(ctx context.Context) {
	wanted, err := p.Tree.Definitions(ctx)
	if p.skip(areaCluster, "definitions", err) {
		return
	}
	var missing []string
	for _, name := range wanted {
		established, err := p.Cluster.Definition(ctx, name)
		if p.skip(areaCluster, "definitions", err) {
			return
		}
		if !established {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) > 0:
		p.add(areaCluster, "definitions", recovery.CheckFail, "the tree has objects of "+some(missing)+", and nothing in it brings the definition",
			"kubectl apply --server-side -f the release's CRDs (Gateway API: github.com/kubernetes-sigs/gateway-api, standard-install.yaml)")
	case len(wanted) > 0:
		p.ok(areaCluster, "definitions", "%s Established", some(wanted))
	}
}
