// Package crds gives the lab the CustomResourceDefinitions of the systems that drctl reads, from the
// modules that publish them: CloudNativePG and its Barman plugin, VolSync, Argo CD, CSI snapshots. The
// Kopia block, which VolSync's fork adds and no module publishes, is added here.
//
// The texts stay in their modules: nothing of them is copied into this repository. The package must
// not import lab.
package crds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// The modules that publish the manifests. Their versions stand in parts/manifests/go.mod.
const (
	argocdModule    = "github.com/argoproj/argo-cd/v3"
	volsyncModule   = "github.com/backube/volsync"
	cnpgModule      = "github.com/cloudnative-pg/cloudnative-pg"
	barmanModule    = "github.com/cloudnative-pg/plugin-barman-cloud"
	snapshotsModule = "github.com/kubernetes-csi/external-snapshotter/client/v8"
)

// Modules are the folders that the publishing modules were unpacked to.
type Modules struct {
	folders  map[string]string
	versions map[string]string
}

// Fetch has the go command fetch the modules that the nested module in dir pins, and check them
// against its go.sum. Modules that are in the module cache already cost no request.
func Fetch(ctx context.Context, dir string) (Modules, error) {
	args := []string{"mod", "download", "-json", argocdModule, volsyncModule, cnpgModule, barmanModule, snapshotsModule}
	download := exec.CommandContext(ctx, "go", args...)
	download.Dir = dir
	var stderr bytes.Buffer
	download.Stderr = &stderr
	out, runErr := download.Output()
	m := Modules{folders: map[string]string{}, versions: map[string]string{}}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var module struct{ Path, Version, Dir, Error string }
		if err := decoder.Decode(&module); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return Modules{}, fmt.Errorf("crds: output of go mod download: %w", err)
		}
		if module.Error != "" {
			return Modules{}, fmt.Errorf("crds: fetch module %s %s: %s", module.Path, module.Version, module.Error)
		}
		m.folders[module.Path], m.versions[module.Path] = module.Dir, module.Version
	}
	if runErr != nil {
		return Modules{}, fmt.Errorf("crds: go mod download in %s: %w\n%s", dir, runErr, stderr.Bytes())
	}
	return m, nil
}

// All gives every CustomResourceDefinition but those of CloudNativePG, which come with CNPGRelease.
func (m Modules) All() ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, set := range []struct{ module, pattern string }{
		{volsyncModule, "config/crd/bases/*.yaml"},
		{argocdModule, "manifests/crds/*-crd.yaml"},
		{barmanModule, "config/crd/bases/*.yaml"},
		{snapshotsModule, "config/crd/snapshot.storage.k8s.io_*.yaml"},
	} {
		objects, err := m.read(set.module, set.pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, addKopia(all)
}

// CNPGRelease gives the operator's own installation manifest, as it is published.
func (m Modules) CNPGRelease() ([]*unstructured.Unstructured, error) {
	version := strings.TrimPrefix(m.versions[cnpgModule], "v")
	return m.read(cnpgModule, "releases/cnpg-"+version+".yaml")
}

// read decodes every document of the files that match; no file is an error.
func (m Modules) read(module, pattern string) ([]*unstructured.Unstructured, error) {
	paths, err := filepath.Glob(filepath.Join(m.folders[module], filepath.FromSlash(pattern)))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("crds: module %s %s has no %s: %w", module, m.versions[module], pattern, errors.Join(err, os.ErrNotExist))
	}
	var all []*unstructured.Unstructured
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("crds: %w", err)
		}
		objects, err := Decode(content)
		if err != nil {
			return nil, fmt.Errorf("crds: %s: %w", path, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// Decode reads a file of YAML documents; empty ones are passed over.
func Decode(content []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	var all []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}
