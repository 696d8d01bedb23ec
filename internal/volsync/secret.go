package volsync

import (
	"encoding/base64"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// The keys that the platform's policy puts into a claim's Secret, and the mover reads.
const (
	passwordKey   = "KOPIA_PASSWORD"
	repositoryKey = "KOPIA_REPOSITORY"
)

// SecretManifest is a mover's Secret of the plan's own.
func SecretManifest(namespace, name, planID string, data map[string][]byte) *unstructured.Unstructured {
	encoded := make(map[string]any, len(data))
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata(namespace, name, planID), "data": encoded,
	}}
}

// FromFallback makes a claim's Secret out of the platform's own, which has only the password, as the
// platform's policy does: the repository is mounted into the mover.
func FromFallback(name string, fallback map[string][]byte) (map[string][]byte, error) {
	if len(fallback[passwordKey]) == 0 {
		return nil, lacks(name, passwordKey)
	}
	return map[string][]byte{
		passwordKey: fallback[passwordKey], repositoryKey: []byte("filesystem:///repository"), "KOPIA_FS_PATH": []byte("/repository"),
	}, nil
}

// CheckSecret sees that a mover can open the repository with it.
// Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go, validateRepository.
func CheckSecret(name string, data map[string][]byte) error {
	for _, key := range []string{passwordKey, repositoryKey} {
		if len(data[key]) == 0 {
			return lacks(name, key)
		}
	}
	return nil
}

func lacks(name, key string) error {
	return &recovery.Problem{What: "read Secret " + name, Why: "it has no " + key, Next: "put it there", Err: recovery.ErrDamaged}
}
