package helm

import (
	"context"
	"fmt"
	"sync"

	releasecommon "helm.sh/helm/v4/pkg/release/common"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/drctl/drctl/internal/recovery"
)

// Unlock marks a pending revision as failed, so that Deploy goes on from it. It is recovery.ErrConflict when the newest
// revision is not that one, or ended well, or is written to by somebody at the same time. Done before, it is done.
func (c *Client) Unlock(ctx context.Context, namespace, name string, revision int) error {
	what := fmt.Sprintf("mark revision %d of release %s/%s as failed", revision, namespace, name)
	session, err := c.session(ctx, namespace)
	if err != nil {
		return err
	}
	client, err := session.KubernetesClientSet()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	releases := storage.Init(driver.NewSecrets(&seenSecrets{SecretInterface: client.CoreV1().Secrets(namespace), versions: map[string]string{}}))
	revisions, err := history(ctx, releases, namespace, name)
	if err != nil {
		return err
	}
	if len(revisions) == 0 || revisions[0].Version != revision {
		return &recovery.Problem{
			What: what, Why: "it is not the newest revision any more: somebody else works on the release",
			Next: "look what it does: kubectl get secrets -n " + namespace + " -l owner=helm", Err: recovery.ErrConflict,
		}
	}
	newest := revisions[0]
	switch {
	case newest.Info.Status == releasecommon.StatusFailed:
		return nil
	case !pending(newest):
		return &recovery.Problem{
			What: what, Why: fmt.Sprintf("it is %s by now: the attempt that began it has ended", newest.Info.Status),
			Next: "run the command again: it begins from what is there now", Err: recovery.ErrConflict,
		}
	}
	newest.SetStatus(releasecommon.StatusFailed, fmt.Sprintf("%s was cut off, and marked as failed by drctl", newest.Info.Status))
	if err := releases.Update(newest); err != nil {
		return explain(ctx, what, err)
	}
	return nil
}

// seenSecrets writes a Secret only as long as it is the one that was read. Helm's own driver writes over whatever is there,
// so a revision could be marked as failed that its helm is just ending.
type seenSecrets struct {
	typedcorev1.SecretInterface
	mu       sync.Mutex
	versions map[string]string
}

// List lists, and remembers what was seen.
func (s *seenSecrets) List(ctx context.Context, options metav1.ListOptions) (*corev1.SecretList, error) {
	list, err := s.SecretInterface.List(ctx, options)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list.Items {
		s.versions[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return list, nil
}

// Update writes over what was seen.
func (s *seenSecrets) Update(ctx context.Context, secret *corev1.Secret, options metav1.UpdateOptions) (*corev1.Secret, error) {
	s.mu.Lock()
	secret.ResourceVersion = s.versions[secret.Name]
	s.mu.Unlock()
	return s.SecretInterface.Update(ctx, secret, options)
}
