package bootstrapworld

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// release is what the oracle reads of Helm's own record.
type release struct {
	Manifest string `json:"manifest"`
	Chart    struct {
		Metadata struct {
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"chart"`
}

// lookRelease reads Helm's Secrets: labels for status and revision, the newest one's content for its objects.
// Source: helm/v4 pkg/storage/driver/secrets.go and util.go.
func (w *World) lookRelease(ctx context.Context, s *State) error {
	secrets, err := w.client.CoreV1().Secrets(lab.ArgoNamespace).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=argocd"})
	if err != nil {
		return fmt.Errorf("releases: %w", err)
	}
	var newest *corev1.Secret
	for i := range secrets.Items {
		secret := &secrets.Items[i]
		revision, err := strconv.Atoi(secret.Labels["version"])
		if err != nil {
			return fmt.Errorf("release %s: %w", secret.Name, err)
		}
		s.Revisions[revision] = secret.Labels["status"]
		if revision > s.Newest {
			s.Newest, newest = revision, secret
		}
	}
	if newest == nil {
		return nil
	}
	read, err := decodeRelease(newest.Data["release"])
	if err != nil {
		return fmt.Errorf("release %s: %w", newest.Name, err)
	}
	s.ChartVersion = read.Chart.Metadata.Version
	s.Missing, err = w.missing(ctx, read.Manifest)
	return err
}

func decodeRelease(content []byte) (*release, error) {
	packed, err := base64.StdEncoding.DecodeString(string(content))
	if err != nil {
		return nil, err
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, err
	}
	read := &release{}
	return read, json.Unmarshal(text, read)
}

// missing are the objects of a manifest that are not there, or not ready.
func (w *World) missing(ctx context.Context, manifest string) ([]string, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var all []string
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest of the release: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		if object.GetNamespace() == "" {
			object.SetNamespace(lab.ArgoNamespace) // as Helm does with what names none; it says nothing for what has none
		}
		name := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		live, err := w.applier.Get(ctx, object)
		switch {
		case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
			all = append(all, name+" is not there")
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		case live.GetDeletionTimestamp() != nil:
			all = append(all, name+" is being deleted")
		case !ready(live):
			all = append(all, name+" is not ready")
		}
	}
}

// ready counts a workload's Pods; what has none is ready.
func ready(live *unstructured.Unstructured) bool {
	if !slices.Contains([]string{"Deployment", "StatefulSet"}, live.GetKind()) {
		return true
	}
	wanted, found, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if !found {
		wanted = 1
	}
	are, _, _ := unstructured.NestedInt64(live.Object, "status", "readyReplicas")
	seen, _, _ := unstructured.NestedInt64(live.Object, "status", "observedGeneration")
	updated, _, _ := unstructured.NestedInt64(live.Object, "status", "updatedReplicas")
	return are >= wanted && updated >= wanted && seen >= live.GetGeneration()
}

// lookArgo looks for what a chart of Argo CD makes, by kind and not by a release's word: an uninstalled one must
// have left none of it.
func (w *World) lookArgo(ctx context.Context, s *State) error {
	for _, kind := range []schema.GroupVersionResource{
		{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"},
		{Group: "batch", Version: "v1", Resource: "jobs"}, {Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "services"}, {Version: "v1", Resource: "serviceaccounts"},
		argoKind("applications"), argoKind("applicationsets"), argoKind("appprojects"),
	} {
		objects, err := w.list(ctx, kind, lab.ArgoNamespace)
		if err != nil {
			return err
		}
		for i := range objects {
			if name := objects[i].GetName(); name != "kube-root-ca.crt" && (kind.Resource != "serviceaccounts" || name != "default") {
				s.Argo = append(s.Argo, kind.Resource+" "+name)
			}
		}
	}
	for _, kind := range []string{"clusterroles", "clusterrolebindings"} {
		objects, err := w.list(ctx, schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: kind}, "")
		if err != nil {
			return err
		}
		for i := range objects {
			if strings.HasPrefix(objects[i].GetName(), "argocd-") {
				s.Argo = append(s.Argo, kind+" "+objects[i].GetName())
			}
		}
	}
	return nil
}
