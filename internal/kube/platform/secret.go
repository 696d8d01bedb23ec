package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// lastApplied is where kubectl keeps what it applied, the values of a Secret among it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// SecretFile is a Secret as it is to be in the cluster. No error, and nothing else, ever holds one of its values.
type SecretFile struct {
	Namespace, Name string
	// Type is empty where the file says none.
	Type        string
	Labels      map[string]string
	Annotations map[string]string
	Values      map[string][]byte
}

// Secret gives a Secret's values, nil when there is none.
func (a *API) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	values, err := a.client.Secret(ctx, namespace, name)
	if err != nil {
		return nil, absent(err)
	}
	return values, nil
}

// ApplySecret makes a Secret with its namespace, server-side, unless one is there that holds other values under the
// same keys: that is recovery.ErrConflict without replace. Changed is false, and nothing was written, when it was
// so already. Keys that the file does not have stay; with replace, those that drctl applied before go.
//
// What was compared is what is written over: a Secret that somebody changes in between is recovery.ErrConflict.
func (a *API) ApplySecret(ctx context.Context, secret SecretFile, replace bool) (changed bool, err error) {
	object, err := a.client.Get(ctx, core("secrets"), secret.Namespace, secret.Name)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		if err := a.ensureNamespace(ctx, secret.Namespace); err != nil {
			return false, err
		}
		err := a.writeSecret(ctx, &secret, nil, false)
		return err == nil, err
	case err != nil:
		return false, err
	}
	live := &corev1.Secret{}
	if err := read(object, live); err != nil {
		// The decoder's own words may quote a value.
		return false, secret.problem("the live Secret can't be decoded", "look at it with kubectl, or delete it", recovery.ErrDamaged)
	}
	if err := secret.compatible(live, replace); err != nil {
		return false, err
	}
	if secret.isIn(live) {
		return false, nil
	}
	err = a.writeSecret(ctx, &secret, live, replace)
	return err == nil, err
}

// compatible reports why the file must not be written over the live Secret.
func (s *SecretFile) compatible(live *corev1.Secret, replace bool) error {
	switch others := s.differing(live); {
	case live.DeletionTimestamp != nil:
		return s.problem("it is being deleted", "wait until it is gone, then run the command again", recovery.ErrConflict)
	case s.Type != "" && string(live.Type) != s.Type:
		return s.problem(fmt.Sprintf("the live Secret's type is %s, the file's is %s, and a type can't be changed", live.Type, s.Type),
			"correct the file, or delete the live Secret", recovery.ErrConflict)
	case len(others) > 0 && live.Immutable != nil && *live.Immutable:
		return s.problem("the live Secret is immutable, and holds other values under "+strings.Join(others, ", "), "delete it, if the file's values are the right ones", recovery.ErrConflict)
	case len(others) > 0 && !replace:
		return s.problem("the cluster has one with other values under "+strings.Join(others, ", "),
			"look which ones are right: correct the file, or have the file's values written over them", recovery.ErrConflict)
	}
	return nil
}

// differing are the keys under which the live Secret holds other values, sorted.
func (s *SecretFile) differing(live *corev1.Secret) []string {
	var keys []string
	for key, value := range s.Values {
		if present, known := live.Data[key]; known && !bytes.Equal(present, value) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// isIn reports whether the live Secret has all that the file says.
func (s *SecretFile) isIn(live *corev1.Secret) bool {
	for key, value := range s.Values {
		if present, known := live.Data[key]; !known || !bytes.Equal(present, value) {
			return false
		}
	}
	return contains(live.Labels, s.Labels) && contains(live.Annotations, s.annotations())
}

func contains(live, wanted map[string]string) bool {
	for key, value := range wanted {
		if present, known := live[key]; !known || present != value {
			return false
		}
	}
	return true
}

// annotations are the file's without what kubectl keeps.
func (s *SecretFile) annotations() map[string]string {
	kept := maps.Clone(s.Annotations)
	delete(kept, lastApplied)
	return kept
}

// writeSecret applies it. A server-side apply takes away what its manager applied before and does not name any
// more, so those keys are named as they are, unless the file is to replace them.
func (a *API) writeSecret(ctx context.Context, secret *SecretFile, live *corev1.Secret, replace bool) error {
	values := map[string]any{}
	metadata := map[string]any{"namespace": secret.Namespace, "name": secret.Name}
	object := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": values}
	if live != nil {
		metadata["resourceVersion"] = live.ResourceVersion
		for _, key := range ownKeys(live) {
			if value, there := live.Data[key]; there && !replace {
				values[key] = base64.StdEncoding.EncodeToString(value)
			}
		}
	}
	for key, value := range secret.Values {
		values[key] = base64.StdEncoding.EncodeToString(value)
	}
	if secret.Type != "" {
		object["type"] = secret.Type
	}
	setTexts(metadata, "labels", secret.Labels)
	setTexts(metadata, "annotations", secret.annotations())
	_, err := a.client.Apply(ctx, core("secrets"), &unstructured.Unstructured{Object: object}, kube.WriteOptions{Force: replace})
	if errors.Is(err, recovery.ErrConflict) {
		return secret.problem("it was changed meanwhile, or its labels are another one's", "run the command again", err)
	}
	return err
}

func setTexts(metadata map[string]any, field string, texts map[string]string) {
	if len(texts) == 0 {
		return
	}
	values := make(map[string]any, len(texts))
	for key, value := range texts {
		values[key] = value
	}
	metadata[field] = values
}

// ownKeys are the keys whose values drctl applied.
func ownKeys(live *corev1.Secret) []string {
	var keys []string
	for _, entry := range live.ManagedFields {
		var owned struct {
			Data map[string]json.RawMessage `json:"f:data"`
		}
		if entry.Manager != kube.FieldManager || entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &owned) != nil {
			continue
		}
		for field := range owned.Data {
			if key, isField := strings.CutPrefix(field, "f:"); isField {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func (s *SecretFile) problem(why, next string, kind error) error {
	return &recovery.Problem{What: fmt.Sprintf("apply Secret %s/%s", s.Namespace, s.Name), Why: why, Next: next, Err: kind}
}

// ensureNamespace makes a namespace that is not there. One that is being deleted takes nothing new.
func (a *API) ensureNamespace(ctx context.Context, name string) error {
	live, err := a.client.Get(ctx, core("namespaces"), "", name)
	switch {
	case errors.Is(err, recovery.ErrNotFound):
		namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
		if _, err := a.client.Create(ctx, core("namespaces"), namespace, kube.WriteOptions{}); err != nil && !errors.Is(err, recovery.ErrExists) {
			return err
		}
		return nil
	case err != nil:
		return err
	case live.GetDeletionTimestamp() != nil:
		return &recovery.Problem{
			What: "put a Secret into namespace " + name, Why: "the namespace is being deleted",
			Next: "wait until it is gone; what holds it up stands in its conditions: kubectl get namespace " + name + " -o yaml", Err: recovery.ErrConflict,
		}
	}
	return nil
}
