package bootstrapworld

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// State is what counts of the world, read by the Kubernetes client and git: none of it by code of drctl.
type State struct {
	// Revisions are those of Argo CD's release, by number, with their status.
	Revisions map[int]string
	// Newest is the highest revision, 0 for none, and ChartVersion its chart's.
	Newest       int
	ChartVersion string
	// Missing are the objects of that revision that are not there, or not ready, with the reason.
	Missing []string
	// Argo are objects of Argo CD that stand in the cluster, besides its definitions and its namespace.
	Argo []string
	// Definitions are Argo CD's, by name: whether it is Established.
	Definitions map[string]bool
	// Secrets are the values of those that the operator brings, by NAMESPACE/NAME; empty when it is not there.
	Secrets map[string]string
	// Root says how the root Application differs from Git's: "" not at all, "absent" when it is not there.
	Root string
	// Applications are by name "SYNC HEALTH".
	Applications map[string]string
	// Bystander is everything of what does not belong to the platform.
	Bystander string
	// Left is what drctl must not leave behind: locks, copies of plans.
	Left []string
}

// Look reads the state.
func (w *World) Look(ctx context.Context) (*State, error) {
	s := &State{Revisions: map[int]string{}, Definitions: map[string]bool{}, Secrets: map[string]string{}, Applications: map[string]string{}}
	for _, part := range []func(context.Context, *State) error{
		w.lookRelease, w.lookArgo, w.lookDefinitions, w.lookSecrets, w.lookApplications, w.lookBystander, w.lookLeft,
	} {
		if err := part(ctx, s); err != nil {
			return s, fmt.Errorf("bootstrapworld: %w", err)
		}
	}
	return s, nil
}

func (w *World) lookDefinitions(ctx context.Context, s *State) error {
	definitions, err := w.list(ctx, definitionKind(), "")
	if err != nil {
		return err
	}
	for i := range definitions {
		if group, _, _ := unstructured.NestedString(definitions[i].Object, "spec", "group"); group == "argoproj.io" {
			s.Definitions[definitions[i].GetName()] = condition(&definitions[i], "Established") == "True"
		}
	}
	return nil
}

func definitionKind() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

func argoKind(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: resource}
}

func condition(object *unstructured.Unstructured, kind string) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, each := range conditions {
		if one, ok := each.(map[string]any); ok && one["type"] == kind {
			return fmt.Sprint(one["status"])
		}
	}
	return ""
}

// list is empty for a kind that is not defined.
func (w *World) list(ctx context.Context, kind schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	listed, err := w.dynamic.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind.Resource, err)
	}
	return listed.Items, nil
}

// brought are the Secrets of the operator's folder with the values that their files give them.
func brought() map[string]string {
	return map[string]string{"volsync-system/kopia-credentials": "KOPIA_PASSWORD=" + KopiaPassword, "notes/notes-secret": "token=" + NotesToken}
}

func (w *World) lookSecrets(ctx context.Context, s *State) error {
	for key := range brought() {
		namespace, name, _ := strings.Cut(key, "/")
		secret, err := w.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("secret %s: %w", key, err)
		}
		var values []string
		for name, value := range secret.Data {
			values = append(values, name+"="+string(value))
		}
		slices.Sort(values)
		s.Secrets[key] = strings.Join(values, " ")
	}
	return nil
}

func (w *World) lookApplications(ctx context.Context, s *State) error {
	apps, err := w.list(ctx, argoKind("applications"), lab.ArgoNamespace)
	if err != nil {
		return err
	}
	s.Root = "absent"
	for i := range apps {
		sync, _, _ := unstructured.NestedString(apps[i].Object, "status", "sync", "status")
		health, _, _ := unstructured.NestedString(apps[i].Object, "status", "health", "status")
		s.Applications[apps[i].GetName()] = sync + " " + health
		if apps[i].GetName() != Root {
			continue
		}
		if s.Root, err = w.compareRoot(ctx, &apps[i]); err != nil {
			return err
		}
	}
	return nil
}

// compareRoot compares the live root Application with the one in Git.
func (w *World) compareRoot(ctx context.Context, live *unstructured.Unstructured) (string, error) {
	file, err := w.Remote.File(ctx, lab.GitBranch, "infrastructure/controllers/argocd/root.yaml")
	if err != nil {
		return "", err
	}
	var wanted map[string]any
	if err := yaml.Unmarshal([]byte(file), &wanted); err != nil {
		return "", fmt.Errorf("root Application in Git: %w", err)
	}
	is, isErr := json.Marshal(live.Object["spec"])
	want, wantErr := json.Marshal(wanted["spec"])
	if isErr != nil || wantErr != nil {
		return "", fmt.Errorf("compare the root Application: %w, %w", isErr, wantErr)
	}
	if !reflect.DeepEqual(is, want) {
		return fmt.Sprintf("its spec is %s, and Git's %s", is, want), nil
	}
	return "", nil
}

// lookBystander is a text of all that belongs to others: it is the same as long as nobody touched it.
func (w *World) lookBystander(ctx context.Context, s *State) error {
	var all []string
	namespace, err := w.client.CoreV1().Namespaces().Get(ctx, Bystander, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.Bystander = "absent"
		return nil
	}
	if err != nil {
		return fmt.Errorf("the bystander: %w", err)
	}
	all = append(all, fmt.Sprint(namespace.UID, namespace.Labels, namespace.DeletionTimestamp))
	secrets, err := w.client.CoreV1().Secrets(Bystander).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("the bystander: %w", err)
	}
	for _, secret := range secrets.Items {
		all = append(all, fmt.Sprint(secret.Name, secret.UID, secret.ResourceVersion, len(secret.Data)))
	}
	agent, err := w.client.AppsV1().DaemonSets("kube-system").Get(ctx, "cilium", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("cilium: %w", err)
	}
	s.Bystander = strings.Join(append(all, fmt.Sprint(agent.UID, agent.Generation)), "\n")
	return nil
}

// lookLeft looks where locks and copies of plans are kept, and wherever else something may be drctl's.
func (w *World) lookLeft(ctx context.Context, s *State) error {
	leases, err := w.client.CoordinationV1().Leases("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	for _, object := range leases.Items {
		if ours(&object) {
			s.Left = append(s.Left, "Lease "+object.Namespace+"/"+object.Name)
		}
	}
	configs, err := w.client.CoreV1().ConfigMaps("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("ConfigMaps: %w", err)
	}
	for _, object := range configs.Items {
		if ours(&object) {
			s.Left = append(s.Left, "ConfigMap "+object.Namespace+"/"+object.Name)
		}
	}
	return nil
}

func ours(object metav1.Object) bool {
	return strings.HasPrefix(object.GetName(), "drctl-") || object.GetLabels()["app.kubernetes.io/managed-by"] == "drctl"
}
