package flipworld

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
)

// rowsPatience is how long a database may be between two primaries.
const rowsPatience = 30 * time.Second

// State is what counts of the world, read by psql, the S3 and Kubernetes clients and git: none of it by
// code of drctl.
type State struct {
	ClusterUID, Bootstrap, Server, Phase string
	Instances                            int
	// Rows is the hash of all rows, Count their number.
	Rows, Count string
	// Claims are the database's claims by name, with UID.
	Claims map[string]string
	// Volumes are by name: "POLICY PHASE" and whether the folder holds data.
	Volumes map[string]string
	// Password is the superuser's.
	Password string
	// SecretOwned: the superuser's Secret goes with the Cluster.
	SecretOwned bool
	Suspended   bool
	// Keeps are the keep marks in S3, Backups the base backups with their status.
	Keeps   []string
	Backups map[string]string
	// Left is what drctl must not leave behind: fences, locks, copies of plans.
	Left []string
	// Remote and Local are the heads, Dirty what is changed in the checkout.
	Remote, Local, Dirty string
}

// Look reads the state. The operator's checkout may be nil.
func (w *World) Look(ctx context.Context, o *Operator) (*State, error) {
	s := &State{Claims: map[string]string{}, Volumes: map[string]string{}, Backups: map[string]string{}}
	for _, part := range []func(context.Context, *State) error{w.lookCluster, w.lookRows, w.lookVolumes, w.lookSecrets, w.lookS3, w.lookLeft} {
		if err := part(ctx, s); err != nil {
			return s, err
		}
	}
	var err error
	if s.Remote, err = w.Remote.Head(ctx); err != nil || o == nil {
		return s, err
	}
	if s.Local, err = gitOut(ctx, o.Tree, "rev-parse", "HEAD"); err != nil {
		return s, err
	}
	s.Dirty, err = gitOut(ctx, o.Tree, "status", "--porcelain")
	return s, err
}

func gitOut(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("flipworld: git %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (w *World) lookCluster(ctx context.Context, s *State) error {
	cluster, err := w.Cluster(ctx, lab.RecoveryCluster)
	if apierrors.IsNotFound(err) {
		s.Phase = "absent" // which is a finding, and no failure of the oracle
		return nil
	}
	if err != nil {
		return err
	}
	s.ClusterUID, s.Phase, s.Instances = string(cluster.UID), cluster.Status.Phase, cluster.Spec.Instances
	switch {
	case cluster.Spec.Bootstrap == nil:
	case cluster.Spec.Bootstrap.Recovery != nil:
		s.Bootstrap = "recovery"
	case cluster.Spec.Bootstrap.InitDB != nil:
		s.Bootstrap = "initdb"
	}
	if cluster.Spec.Backup != nil && cluster.Spec.Backup.BarmanObjectStore != nil {
		s.Server = cluster.Spec.Backup.BarmanObjectStore.ServerName
	}
	return nil
}

// lookRows reads the rows of whoever is the primary now. Where nobody can be asked for a while, or the
// table is gone, the rows are: that is a finding and no failure of the oracle.
func (w *World) lookRows(ctx context.Context, s *State) error {
	deadline := time.Now().Add(rowsPatience)
	for {
		hash, err := w.RowHash(ctx, lab.RecoveryDatabase, lab.RecoveryTable)
		if err == nil {
			s.Rows = hash
			s.Count, err = w.SQL(ctx, "select count(*) from "+lab.RecoveryTable)
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			s.Rows, s.Count = "unreadable: "+err.Error(), "no"
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func (w *World) client() (kubernetes.Interface, error) {
	client, err := kubernetes.NewForConfig(w.Kubernetes.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("flipworld: client: %w", err)
	}
	return client, nil
}

func (w *World) lookVolumes(ctx context.Context, s *State) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	claims, err := client.CoreV1().PersistentVolumeClaims(lab.RecoveryNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: claims: %w", err)
	}
	for _, claim := range claims.Items {
		s.Claims[claim.Name] = string(claim.UID)
	}
	volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: volumes: %w", err)
	}
	for _, volume := range volumes.Items {
		data := "empty"
		if entries, err := os.ReadDir(w.Provisioner.Folder(volume.Name)); err == nil && len(entries) > 0 {
			data = "data"
		}
		s.Volumes[volume.Name] = fmt.Sprintf("%s %s %s", volume.Spec.PersistentVolumeReclaimPolicy, volume.Status.Phase, data)
	}
	return nil
}

func (w *World) lookSecrets(ctx context.Context, s *State) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	secret, err := client.CoreV1().Secrets(lab.RecoveryNamespace).Get(ctx, lab.RecoveryCluster+"-superuser", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return w.lookSchedules(ctx, s)
	}
	if err != nil {
		return fmt.Errorf("flipworld: superuser's Secret: %w", err)
	}
	s.Password, s.SecretOwned = string(secret.Data["password"]), len(secret.OwnerReferences) > 0
	return w.lookSchedules(ctx, s)
}

func (w *World) lookSchedules(ctx context.Context, s *State) error {
	client, err := dynamic.NewForConfig(w.Kubernetes.RESTConfig())
	if err != nil {
		return fmt.Errorf("flipworld: client: %w", err)
	}
	resource := schema.GroupVersionResource{Group: "postgresql.cnpg.io", Version: "v1", Resource: "scheduledbackups"}
	schedules, err := client.Resource(resource).Namespace(lab.RecoveryNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: ScheduledBackups: %w", err)
	}
	for _, schedule := range schedules.Items {
		suspended, _, _ := unstructured.NestedBool(schedule.Object, "spec", "suspend")
		s.Suspended = s.Suspended || suspended
	}
	return nil
}

func (w *World) lookS3(ctx context.Context, s *State) error {
	inventory, err := w.Inventory(ctx)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(inventory)) {
		switch {
		case strings.HasSuffix(key, "/annotations/keep"):
			s.Keeps = append(s.Keeps, key)
		case strings.HasSuffix(key, "/backup.info"):
			body, err := w.MinIO.GetObject(ctx, lab.PlatformBucket, key)
			if err != nil {
				return err
			}
			s.Backups[strings.TrimSuffix(key, "/backup.info")] = statusOf(string(body))
		}
	}
	return nil
}

// statusOf is the status line of a backup.info.
func statusOf(body string) string {
	for line := range strings.Lines(body) {
		if status, found := strings.CutPrefix(strings.TrimSpace(line), "status="); found {
			return status
		}
	}
	return "none"
}

func (w *World) lookLeft(ctx context.Context, s *State) error {
	client, err := w.client()
	if err != nil {
		return err
	}
	policies, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: policies: %w", err)
	}
	bindings, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: bindings: %w", err)
	}
	maps, err := client.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=drctl"})
	if err != nil {
		return fmt.Errorf("flipworld: ConfigMaps: %w", err)
	}
	leases, err := client.CoordinationV1().Leases(lab.RecoveryNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("flipworld: Leases: %w", err)
	}
	for _, object := range policies.Items {
		s.Left = append(s.Left, "policy "+object.Name)
	}
	for _, object := range bindings.Items {
		s.Left = append(s.Left, "binding "+object.Name)
	}
	for _, object := range maps.Items {
		s.Left = append(s.Left, "ConfigMap "+object.Name)
	}
	for _, object := range leases.Items {
		if strings.HasPrefix(object.Name, "drctl-") {
			s.Left = append(s.Left, "Lease "+object.Name)
		}
	}
	return nil
}
