package lab

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/lab/crds"
)

// restoreWait is how long the lab waits for its own parts.
const restoreWait = 2 * time.Minute

// RestoreClaim is a claim of the restore lab.
type RestoreClaim struct {
	Namespace, Name string
	// StorageClass is RestoreClass when empty.
	StorageClass string
	// Backup is the value of the label "backup", none when empty.
	Backup string
	// Generated also makes what the platform's policy generates for it, where no policy runs: Secret,
	// ReplicationSource and ReplicationDestination, both of which then run once.
	Generated bool
}

// AddNamespace makes a namespace where there is none, and waits until Pods can be made in it.
func (l *RestoreLab) AddNamespace(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := l.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("lab: make namespace %s: %w", name, err)
	}
	return l.wait(ctx, "namespace "+name, func() (bool, error) {
		_, err := l.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, ignoreNotFound(err)
	})
}

// AddClaim makes a claim and its namespace, and waits until it is bound unless it waits for a consumer.
func (l *RestoreLab) AddClaim(ctx context.Context, c RestoreClaim) error {
	if err := l.AddNamespace(ctx, c.Namespace); err != nil {
		return err
	}
	class := firstText(c.StorageClass, RestoreClass)
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
	if c.Backup != "" {
		claim.Labels = map[string]string{"backup": c.Backup}
	}
	if _, err := l.client.CoreV1().PersistentVolumeClaims(c.Namespace).Create(ctx, claim, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("lab: make claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	if c.Generated {
		if err := l.Generate(ctx, c); err != nil {
			return err
		}
	}
	if class == RestoreLateClass {
		return nil
	}
	_, err := l.WaitBound(ctx, c.Namespace, c.Name)
	return err
}

// Generate makes what the platform's policy generates for a claim.
func (l *RestoreLab) Generate(ctx context.Context, c RestoreClaim) error {
	s := &seeder{Platform: l.Platform, apply: l.applier}
	schedule := "0 * * * *"
	if c.Backup == "daily" {
		schedule = "0 2 * * *"
	}
	return s.render(ctx, "claim", struct {
		PlatformClaim
		KopiaPassword, Schedule string
	}{PlatformClaim{Namespace: c.Namespace, Name: c.Name, Source: true}, l.Platform.KopiaPassword, schedule})
}

// AddSecret makes the Secret that opens the repository, for movers of a namespace.
func (l *RestoreLab) AddSecret(ctx context.Context, namespace, name string) error {
	secret := reference("v1", "Secret", namespace, name)
	secret.Object["stringData"] = map[string]any{
		"KOPIA_PASSWORD": l.Platform.KopiaPassword, "KOPIA_REPOSITORY": "filesystem:///repository", "KOPIA_FS_PATH": "/repository",
	}
	return l.applier.Apply(ctx, secret)
}

// WaitBound waits until a claim is bound, and gives its volume's folder.
func (l *RestoreLab) WaitBound(ctx context.Context, namespace, name string) (folder string, err error) {
	err = l.wait(ctx, "claim "+namespace+"/"+name, func() (bool, error) {
		claim, err := l.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, ignoreNotFound(err)
		}
		folder = l.Provisioner.Folder(claim.Spec.VolumeName)
		return claim.Status.Phase == corev1.ClaimBound, nil
	})
	return folder, err
}

// FillClaim writes tree number seed into a bound claim's volume, see WriteRestoreTree, and gives its hash.
func (l *RestoreLab) FillClaim(ctx context.Context, namespace, name string, seed uint64) (hash string, err error) {
	folder, err := l.WaitBound(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	if err := WriteRestoreTree(folder, seed, MoverID); err != nil {
		return "", err
	}
	return TreeHash(folder)
}

// ClaimHash is the hash of what a bound claim's volume holds.
func (l *RestoreLab) ClaimHash(ctx context.Context, namespace, name string) (string, error) {
	folder, err := l.WaitBound(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	return TreeHash(folder)
}

// ClaimLines are TreeLines of what a bound claim's volume holds.
func (l *RestoreLab) ClaimLines(ctx context.Context, namespace, name string) ([]string, error) {
	folder, err := l.WaitBound(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return TreeLines(folder)
}

// EmptyClaim removes everything in a claim's volume.
func (l *RestoreLab) EmptyClaim(ctx context.Context, namespace, name string) error {
	folder, err := l.WaitBound(ctx, namespace, name)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("lab: empty claim %s/%s: %w", namespace, name, err)
	}
	for _, entry := range entries {
		if err := os.RemoveAll(folder + "/" + entry.Name()); err != nil {
			return fmt.Errorf("lab: empty claim %s/%s: %w", namespace, name, err)
		}
	}
	return nil
}

// Replication reads a ReplicationSource or ReplicationDestination (kind), nil when there is none.
func (l *RestoreLab) Replication(ctx context.Context, kind, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := l.applier.Get(ctx, reference(volsyncGroup+"/v1alpha1", kind, namespace, name))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// wait asks until it is so.
func (l *RestoreLab) wait(ctx context.Context, what string, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	for {
		done, err := is()
		if err != nil || done {
			return wrap(err, "wait for "+what)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: wait for %s: %w", what, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Apply applies manifests.
func (l *RestoreLab) Apply(ctx context.Context, manifests string) error {
	objects, err := crds.Decode([]byte(manifests))
	if err != nil {
		return fmt.Errorf("lab: read manifests: %w", err)
	}
	return l.applier.Apply(ctx, objects...)
}

// WaitSynchronized waits until a replication's run for a trigger is over, and nothing else of it is going on.
func (l *RestoreLab) WaitSynchronized(ctx context.Context, kind, namespace, name, trigger string) (*unstructured.Unstructured, error) {
	var object *unstructured.Unstructured
	err := l.wait(ctx, kind+" "+namespace+"/"+name, func() (done bool, err error) {
		if object, err = l.Replication(ctx, kind, namespace, name); err != nil || object == nil {
			return false, err
		}
		r := &replication{object}
		return r.status("lastManualSync") == trigger && r.status("lastSyncStartTime") == "", nil
	})
	return object, err
}
