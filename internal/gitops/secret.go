package gitops

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// Secret gives the values of a plain Secret of the tree, from data, stringData or a secretGenerator.
// Where the tree holds it only in a form that needs the cluster or a key (ExternalSecret, SealedSecret,
// SOPS) or with a placeholder, the error says which variable to set instead. Errors never contain a
// value.
func (t *Tree) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read Secret %s/%s from the GitOps tree: %w", namespace, name, err)
	}
	wanted := request{namespace: namespace, name: name}
	var failure error
	for i := range t.entries {
		if !t.entries[i].isSecret(namespace, name) {
			continue
		}
		values, err := wanted.values(&t.entries[i].object)
		if err == nil {
			return values, nil
		}
		if failure == nil {
			failure = err
		}
	}
	if failure != nil {
		return nil, failure
	}
	for i := range t.entries {
		if standsIn(&t.entries[i].object, namespace, name) {
			object := &t.entries[i].object
			why := fmt.Sprintf("the tree holds it only as %s %s (in %s)", object.GetKind(), object.GetName(), directoryOf(object))
			return nil, wanted.problem(why, nil, recovery.ErrUnsupported)
		}
	}
	if len(t.sealed) > 0 {
		why := "the tree has no such Secret, unless in a file that SOPS encrypted as a whole: " + strings.Join(t.sealed, ", ")
		return nil, wanted.problem(why, nil, recovery.ErrUnsupported)
	}
	return nil, wanted.problem("the tree has no such Secret", nil, recovery.ErrNotFound)
}

// isSecret matches a plain Secret, also by its name without the generator's hash.
func (e *entry) isSecret(namespace, name string) bool {
	return e.object.GetKind() == "Secret" && e.object.GetAPIVersion() == "v1" &&
		e.object.GetNamespace() == namespace && (e.object.GetName() == name || e.plainName == name)
}

// standsIn reports whether an object of another kind makes the Secret in the cluster: ExternalSecret,
// SealedSecret, VaultStaticSecret, OnePasswordItem and the like, named like the Secret or naming it as
// their target.
func standsIn(object *unstructured.Unstructured, namespace, name string) bool {
	kind := object.GetKind()
	if object.GetAPIVersion() == "v1" || !strings.Contains(kind, "Secret") && kind != "OnePasswordItem" || object.GetNamespace() != namespace {
		return false
	}
	if object.GetName() == name {
		return true
	}
	for _, path := range [][]string{{"spec", "target", "name"}, {"spec", "destination", "name"}, {"spec", "template", "metadata", "name"}} {
		if target, _, err := unstructured.NestedString(object.Object, path...); err == nil && target == name {
			return true
		}
	}
	return false
}

// request is the Secret that was asked for.
type request struct{ namespace, name string }

// values decodes a Secret; stringData wins over data, as in the API server.
func (r request) values(object *unstructured.Unstructured) (map[string][]byte, error) {
	where := directoryOf(object)
	values := map[string][]byte{}
	var encrypted, placeholders, undecodable []string
	judge := func(key string, value []byte, isValue bool) {
		switch {
		case !isValue:
			undecodable = append(undecodable, key)
		case isEncrypted(value):
			encrypted = append(encrypted, key)
		case isPlaceholder(string(value)):
			placeholders = append(placeholders, key)
		default:
			values[key] = value
		}
	}
	plain, _ := object.Object["stringData"].(map[string]any)
	encoded, _ := object.Object["data"].(map[string]any)
	for key, value := range plain {
		text, isText := value.(string)
		judge(key, []byte(text), isText)
	}
	for key, value := range encoded {
		if _, overridden := plain[key]; !overridden {
			decoded, isValue := decodeValue(value)
			judge(key, decoded, isValue)
		}
	}
	switch {
	case object.Object["sops"] != nil || len(encrypted) > 0:
		return nil, r.problem(fmt.Sprintf("in %s it is encrypted by SOPS", where), encrypted, recovery.ErrUnsupported)
	case len(placeholders) > 0:
		return nil, r.problem(fmt.Sprintf("in %s the value of %s is a placeholder", where, joined(placeholders)), placeholders, recovery.ErrUnsupported)
	case len(undecodable) > 0:
		return nil, r.problem(fmt.Sprintf("in %s the value of %s is not base64 or text", where, joined(undecodable)), undecodable, recovery.ErrDamaged)
	}
	return values, nil
}

// decodeValue decodes a value of data. What was written there in plain by mistake is passed on when it
// says itself that it is no value yet.
func decodeValue(value any) ([]byte, bool) {
	text, isText := value.(string)
	if isText && (isEncrypted([]byte(text)) || isPlaceholder(text)) {
		return []byte(text), true
	}
	decoded, err := base64.StdEncoding.DecodeString(text)
	return decoded, isText && err == nil
}

// isEncrypted recognises what SOPS leaves in place of a value.
func isEncrypted(value []byte) bool {
	return bytes.Contains(value, []byte("ENC[AES256_GCM,"))
}

// isPlaceholder recognises the platform's CHANGE-ME and the substitutions of Flux (${NAME}) and of the
// Argo CD vault plugin (<path:…>).
func isPlaceholder(value string) bool {
	value = strings.TrimSpace(value)
	return hasPlaceholder(value) ||
		strings.HasPrefix(value, "<path:") && strings.HasSuffix(value, ">") ||
		strings.HasPrefix(value, "${") && strings.HasSuffix(value, "}")
}

// problem is the error that names what to set instead. The keys, where known, tell what for.
func (r request) problem(why string, keys []string, kind error) error {
	return &recovery.Problem{
		What: fmt.Sprintf("read Secret %s/%s from the GitOps tree", r.namespace, r.name),
		Why:  why,
		Next: r.instead(keys),
		Err:  kind,
	}
}

func (r request) instead(keys []string) string {
	const (
		forKopia = "set KOPIA_PASSWORD, or give --password-file FILE"
		forS3    = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	)
	hints := strings.ToLower(strings.Join(append(slices.Clone(keys), r.name), " "))
	containsAny := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(hints, word) })
	}
	kopia, s3 := containsAny("kopia", "volsync"), containsAny("aws", "s3", "access", "minio", "cnpg", "barman")
	switch {
	case kopia && !s3:
		return forKopia
	case s3 && !kopia:
		return forS3
	default:
		return "for Kopia " + forKopia + "; for S3 " + forS3
	}
}

// joined lists keys in order.
func joined(keys []string) string {
	return strings.Join(slices.Sorted(slices.Values(keys)), ", ")
}
