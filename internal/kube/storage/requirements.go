package storage

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// Requirements names what VolSync and Kopia need and the cluster does not have, empty when all is there. The
// answer may be half a minute old.
func (a *API) Requirements(ctx context.Context) ([]string, error) {
	return a.requirements.get(ctx, a.readRequirements)
}

func (a *API) readRequirements(ctx context.Context) ([]string, error) {
	missing := []string{}
	for _, kind := range []string{"replicationdestinations", "replicationsources"} {
		problem, err := a.kopiaKind(ctx, kind+"."+volsyncKind(kind).Group)
		if err != nil {
			return nil, err
		}
		if problem != "" {
			missing = append(missing, problem)
		}
	}
	served, err := a.client.Served(ctx, volumeSnapshots())
	if err != nil {
		return nil, err
	}
	if !served {
		missing = append(missing, "the VolumeSnapshots of snapshot.storage.k8s.io/v1: the snapshot controller is not installed")
	}
	return missing, nil
}

// kopiaKind says what is wrong with a definition of VolSync's; empty when it has the Kopia block.
func (a *API) kopiaKind(ctx context.Context, name string) (string, error) {
	definitions := gvr{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	definition, err := a.client.Get(ctx, definitions, "", name)
	if errors.Is(err, recovery.ErrNotFound) {
		return "the definition " + name + ": VolSync is not installed", nil
	}
	if err != nil {
		return "", err
	}
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, item := range versions {
		version, _ := item.(map[string]any)
		if version["name"] != volsyncKind("").Version || version["served"] != true {
			continue
		}
		_, found, _ := unstructured.NestedFieldNoCopy(version, "schema", "openAPIV3Schema", "properties", "spec", "properties", "kopia")
		if found {
			return "", nil
		}
	}
	return "spec.kopia in the definition " + name + ": this VolSync has no Kopia mover, which only the fork perfectra1n/volsync has", nil
}
