package recover

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/flipworld"
)

// right is one verb on one kind of object, in one namespace or (empty) in all, for one name or any.
type right struct{ Namespace, Verb, Group, Resource, Name string }

// grantedRights are those of docs/rbac-recover.yaml, given to a user who has no others.
type grantedRights struct {
	world *flipworld.World
	// environment runs drctl as that user, with S3 keys from the cluster.
	environment []string
	shipped     []right
	mark        int64
}

func grantRecover(t *testing.T, w *flipworld.World) *grantedRights {
	t.Helper()
	g := &grantedRights{world: w}
	var objects []*unstructured.Unstructured
	for _, document := range shippedDocuments(t) {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object))
		if _, binding := object.Object["subjects"]; binding {
			object.Object["subjects"] = []any{map[string]any{"apiGroup": rbacv1.GroupName, "kind": "User", "name": lab.NobodyUser}}
		}
		objects = append(objects, object)
		g.shipped = append(g.shipped, rightsOf(t, document)...)
	}
	applier, err := w.Kubernetes.Applier()
	require.NoError(t, err)
	require.NoError(t, applier.Apply(t.Context(), objects...))
	g.wait(t)
	config, err := w.Kubernetes.RESTConfigFor(lab.NobodyUser)
	require.NoError(t, err)
	kubeconfig, err := w.Proxy.Kubeconfig(config)
	require.NoError(t, err)
	g.environment = []string{"KUBECONFIG=" + kubeconfig, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY="}
	g.mark, err = w.Kubernetes.AuditMark()
	require.NoError(t, err)
	return g
}

func shippedDocuments(t *testing.T) []string {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "rbac-recover.yaml"))
	require.NoError(t, err)
	return strings.Split(string(text), "\n---\n")
}

func rightsOf(t *testing.T, document string) []right {
	t.Helper()
	var role rbacv1.ClusterRole // a Role has its rules in the same place
	require.NoError(t, yaml.Unmarshal([]byte(document), &role))
	var rights []right
	for _, rule := range role.Rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		require.Len(t, rule.APIGroups, 1)
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					rights = append(rights, right{role.Namespace, verb, rule.APIGroups[0], resource, name})
				}
			}
		}
	}
	return rights
}

// wait asks the authorizer, which learns of new bindings a moment after they were written.
func (g *grantedRights) wait(t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(g.world.Kubernetes.RESTConfig())
	require.NoError(t, err)
	for _, r := range g.shipped {
		resource, sub, _ := strings.Cut(r.Resource, "/")
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: lab.NobodyUser, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Name: r.Name,
			},
		}}
		require.Eventually(t, func() bool {
			answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed
		}, time.Minute, 20*time.Millisecond, "%v", r)
	}
}

// covers: a right without a name is one for every name, a right without a namespace one for all of them.
func (r right) covers(used right) bool {
	return r.Verb == used.Verb && r.Group == used.Group && r.Resource == used.Resource &&
		(r.Namespace == "" || r.Namespace == used.Namespace) && (r.Name == "" || r.Name == used.Name)
}

// requireLeast holds the shipped rights to the requests that the API server saw: each was allowed, and no
// right is there that none of them needed.
func (g *grantedRights) requireLeast(t *testing.T) {
	t.Helper()
	used := g.used(t)
	for _, one := range used {
		require.True(t, slices.ContainsFunc(g.shipped, func(r right) bool { return r.covers(one) }), "no shipped right is for %+v", one)
	}
	for _, r := range g.shipped {
		require.True(t, slices.ContainsFunc(used, r.covers), "nothing needed %+v", r)
		// A right for all namespaces is one too many where a single one would do.
		require.True(t, r.Namespace != "" || slices.ContainsFunc(used, func(u right) bool { return r.covers(u) && u.Namespace == "" }),
			"%+v was used in namespaces only", r)
	}
}

// used are the rights behind the user's requests.
func (g *grantedRights) used(t *testing.T) []right {
	t.Helper()
	requests, err := g.world.Kubernetes.RequestsSince(g.mark, lab.NobodyUser)
	require.NoError(t, err)
	var used []right
	for _, r := range requests {
		one := right{r.Namespace, r.Verb, r.Group, strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/"), r.Name}
		switch one.Resource {
		case "": // discovery, which everybody may ask for
			continue
		case "namespaces":
			one.Namespace = "" // a Namespace stands in none, whatever the log says
		case "pods/exec":
			if r.Verb == "get" && r.Code == http.StatusForbidden {
				continue // a WebSocket was tried first, which needs get as well; create alone is enough for SPDY
			}
		}
		require.NotEqual(t, http.StatusForbidden, r.Code, r.URI)
		used = append(used, one)
	}
	return used
}
