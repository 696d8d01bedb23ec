package restoreworld

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/lab"
)

// State is what counts of the world, read by the Kubernetes client, kopia and the file system: none of it by
// code of drctl.
type State struct {
	// Claims are the namespace's claims by name.
	Claims map[string]ClaimState
	// Volumes are by name.
	Volumes map[string]VolumeState
	// Replicas is the Deployment's spec.replicas, Ready the number of its Pods that are ready.
	Replicas, Ready int
	// Generated are Kyverno's objects for the claim, by kind, with the UID of the claim that they are for.
	Generated map[string]string
	// Images are VolumeSnapshots by name with the hash of what they hold.
	Images map[string]string
	// Snapshots are the claim's complete snapshots in the repository, oldest first.
	Snapshots []string
	// Left is what drctl must not leave behind: destinations, sources, Secrets, Pods, fences, locks, plans.
	Left []string
	// Argo is the Application's state; Differs says in what the live objects are not what Git says.
	Argo    string
	Differs []string
}

// ClaimState is one claim.
type ClaimState struct {
	UID, Phase, Volume, Source string
	Deleting                   bool
	Labels                     map[string]string
}

// VolumeState is one volume with the hash of what it holds.
type VolumeState struct{ Policy, Phase, Hash string }

// gone stands for a volume's folder that is not there.
const gone = "gone"

// Look reads the state.
func (w *World) Look(ctx context.Context) (*State, error) {
	s := &State{Claims: map[string]ClaimState{}, Volumes: map[string]VolumeState{}, Generated: map[string]string{}, Images: map[string]string{}}
	for _, part := range []func(context.Context, *State) error{w.lookClaims, w.lookVolumes, w.lookImages, w.lookApplication, w.lookGenerated, w.lookLeft, w.lookGit} {
		if err := part(ctx, s); err != nil {
			return s, err
		}
	}
	var err error
	s.Snapshots, err = snapshotsOf(ctx, w.RestoreLab, Namespace, Claim)
	return s, err
}

func (w *World) lookClaims(ctx context.Context, s *State) error {
	claims, err := w.client.CoreV1().PersistentVolumeClaims(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: claims: %w", err)
	}
	for _, claim := range claims.Items {
		if strings.HasPrefix(claim.Name, "volsync-") || strings.HasPrefix(claim.Name, "vs-prime-") {
			continue // VolSync's own, for a mover
		}
		state := ClaimState{UID: string(claim.UID), Phase: string(claim.Status.Phase), Volume: claim.Spec.VolumeName, Deleting: claim.DeletionTimestamp != nil, Labels: claim.Labels}
		if claim.Spec.DataSourceRef != nil {
			state.Source = claim.Spec.DataSourceRef.Name
		}
		s.Claims[claim.Name] = state
	}
	return nil
}

func (w *World) lookVolumes(ctx context.Context, s *State) error {
	volumes, err := w.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: volumes: %w", err)
	}
	for _, volume := range volumes.Items {
		if of := volume.Spec.ClaimRef; of == nil || of.Namespace != Namespace || strings.HasPrefix(of.Name, "volsync-") || strings.HasPrefix(of.Name, "vs-prime-") {
			continue
		}
		hash, err := hashOf(w.Provisioner.Folder(volume.Name))
		if err != nil {
			return err
		}
		s.Volumes[volume.Name] = VolumeState{string(volume.Spec.PersistentVolumeReclaimPolicy), string(volume.Status.Phase), hash}
	}
	return nil
}

// hashOf is the hash of a folder that may be gone, or going.
func hashOf(folder string) (string, error) {
	if _, err := os.Stat(folder); os.IsNotExist(err) {
		return gone, nil
	}
	return lab.TreeHash(folder)
}

func (w *World) lookImages(ctx context.Context, s *State) error {
	list, err := w.list(ctx, "snapshot.storage.k8s.io", "v1", "volumesnapshots", "")
	if err != nil {
		return err
	}
	for _, image := range list {
		if !strings.HasSuffix(image.GetName(), "-before") {
			continue // VolSync's own
		}
		if s.Images[image.GetName()], err = hashOf(w.Snapshotter.Folder(string(image.GetUID()))); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) list(ctx context.Context, group, version, resource, selector string) ([]unstructured.Unstructured, error) {
	list, err := w.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: resource}).Namespace(Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("restoreworld: %s: %w", resource, err)
	}
	return list.Items, nil
}

func (w *World) lookApplication(ctx context.Context, s *State) error {
	deployment, err := w.client.AppsV1().Deployments(Namespace).Get(ctx, Deployment, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restoreworld: Deployment: %w", err)
	}
	if deployment.Spec.Replicas != nil {
		s.Replicas = int(*deployment.Spec.Replicas)
	}
	pods, err := w.client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + Deployment})
	if err != nil {
		return fmt.Errorf("restoreworld: Pods: %w", err)
	}
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				s.Ready++
			}
		}
	}
	return nil
}

// lookGenerated reads what Kyverno generated for the claim.
func (w *World) lookGenerated(ctx context.Context, s *State) error {
	for kind, resource := range map[string]schema.GroupVersionResource{
		"Secret":                 {Version: "v1", Resource: "secrets"},
		"ReplicationDestination": {Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationdestinations"},
	} {
		list, err := w.list(ctx, resource.Group, resource.Version, resource.Resource, "app.kubernetes.io/managed-by=kyverno,volsync.backup/pvc="+Claim)
		if err != nil {
			return err
		}
		for _, object := range list {
			s.Generated[kind] = object.GetLabels()["generate.kyverno.io/trigger-uid"]
		}
	}
	return nil
}

// leftKinds are what drctl makes, and must have taken away in the end.
func leftKinds() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "configmaps"}, {Version: "v1", Resource: "pods"},
		{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationdestinations"},
		{Group: "volsync.backube", Version: "v1alpha1", Resource: "replicationsources"},
	}
}

func (w *World) lookLeft(ctx context.Context, s *State) error {
	for _, kind := range leftKinds() {
		list, err := w.list(ctx, kind.Group, kind.Version, kind.Resource, "app.kubernetes.io/managed-by=drctl")
		if err != nil {
			return err
		}
		for _, object := range list {
			s.Left = append(s.Left, kind.Resource+" "+object.GetName())
		}
	}
	policies, err := w.client.AdmissionregistrationV1().ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: policies: %w", err)
	}
	bindings, err := w.client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: bindings: %w", err)
	}
	leases, err := w.client.CoordinationV1().Leases(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("restoreworld: Leases: %w", err)
	}
	for _, object := range policies.Items {
		if strings.HasPrefix(object.Name, "drctl-") {
			s.Left = append(s.Left, "policy "+object.Name)
		}
	}
	for _, object := range bindings.Items {
		if strings.HasPrefix(object.Name, "drctl-") {
			s.Left = append(s.Left, "binding "+object.Name)
		}
	}
	for _, object := range leases.Items {
		if strings.HasPrefix(object.Name, "drctl-") {
			s.Left = append(s.Left, "Lease "+object.Name)
		}
	}
	return nil
}

// calm is how long a world is given to come to rest after drctl has ended.
const calm = 30 * time.Second

// lookGit waits until Argo CD is at rest, and reads in what live objects differ.
func (w *World) lookGit(ctx context.Context, s *State) error {
	deadline := time.Now().Add(calm)
	for {
		state, err := w.Argo.State(ctx, Application)
		if err != nil {
			return err
		}
		s.Argo = state.Sync + " " + state.Health
		if s.Argo == "Synced Healthy" || time.Now().After(deadline) || ctx.Err() != nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	claim, err := w.client.CoreV1().PersistentVolumeClaims(Namespace).Get(ctx, Claim, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.Differs = append(s.Differs, "the claim is gone")
		return nil
	}
	if err != nil {
		return fmt.Errorf("restoreworld: claim: %w", err)
	}
	if claim.Labels["backup"] != "hourly" {
		s.Differs = append(s.Differs, "the claim's backup label is "+claim.Labels["backup"])
	}
	if mark := claim.Annotations["drctl.dev/plan"]; mark != "" {
		s.Differs = append(s.Differs, "the claim carries the mark of plan "+mark)
	}
	for _, owner := range claim.ManagedFields {
		if strings.HasPrefix(owner.Manager, "drctl") {
			s.Differs = append(s.Differs, "drctl owns fields of the claim")
		}
	}
	return nil
}
