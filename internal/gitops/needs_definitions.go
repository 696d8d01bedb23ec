package gitops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const gatewayGroup = "gateway.networking.k8s.io"

// broughtByName are the groups whose definitions somebody brings apart from who serves them, with the words by which a
// chart or an address gives itself away that has them.
func broughtByName() map[string][]string {
	return map[string][]string{
		gatewayGroup:              {"gateway-api", "gateway-helm", "standard-install", "experimental-install"},
		"snapshot.storage.k8s.io": {"snapshot"},
	}
}

// Definitions are the names of those definitions of the Gateway API and of volume snapshots that the tree's objects
// need, and that nothing in it brings by what can be seen; sorted. Cilium needs those of the Gateway API before it
// starts, once its values turn the Gateway API on.
func (p *Platform) Definitions(ctx context.Context) ([]string, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, err
	}
	needed, there := map[string]bool{}, map[string]bool{}
	for _, e := range p.used(known) {
		kind := e.object.GroupVersionKind()
		if kind.Kind == "CustomResourceDefinition" {
			there[e.object.GetName()] = true
		}
		if _, apart := broughtByName()[kind.Group]; apart {
			needed[pluralOf(kind)+"."+kind.Group] = true
		}
	}
	serves, err := p.ciliumServesGateways(ctx, known)
	if err != nil {
		return nil, err
	}
	if serves {
		for _, plural := range ciliumsGatewayKinds() {
			needed[plural+"."+gatewayGroup] = true
		}
	}
	missing := []string{}
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		if _, group, _ := strings.Cut(name, "."); !there[name] && !bringsGroup(known.unseen, group) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// pluralOf guesses the plural of a kind. What apimachinery guesses knows nothing of words on -ay and -ey.
func pluralOf(kind schema.GroupVersionKind) string {
	if strings.HasSuffix(kind.Kind, "ay") || strings.HasSuffix(kind.Kind, "ey") {
		return strings.ToLower(kind.Kind) + "s"
	}
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	return plural.Resource
}

// ciliumsGatewayKinds are those without which Cilium's operator does not start the Gateway API.
// Source: cilium Documentation/network/servicemesh/gateway-api/installation.rst, operator/pkg/gateway-api/cell.go.
func ciliumsGatewayKinds() []string {
	return []string{"gatewayclasses", "gateways", "grpcroutes", "httproutes", "referencegrants"}
}

func (p *Platform) ciliumServesGateways(ctx context.Context, known *model) (bool, error) {
	for i := range known.pins {
		if known.pins[i].Name != "cilium" {
			continue
		}
		values := map[string]any{}
		for _, layer := range known.pins[i].layers {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			part, err := p.read(&layer)
			if err != nil {
				return false, err
			}
			values = merged(values, part)
		}
		if enabled, _, _ := unstructured.NestedBool(values, "gatewayAPI", "enabled"); enabled {
			return true, nil
		}
	}
	return false, nil
}

func bringsGroup(all []unseen, group string) bool {
	return slices.ContainsFunc(all, func(u unseen) bool {
		return slices.ContainsFunc(broughtByName()[group], func(word string) bool { return strings.Contains(u.who, word) })
	})
}
