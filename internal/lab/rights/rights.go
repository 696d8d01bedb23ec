// Package rights holds a manifest of rights that drctl ships to what the API server's audit log says was asked
// for: a user who has them, and no others, gets along, and no right is there that nobody needed.
//
// It must not import any package of drctl but lab.
package rights

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// right is one verb on one kind of object, in one namespace or (empty) in all, for one name or any.
type right struct{ Namespace, Verb, Group, Resource, Name string }

// Granted are the rights of one manifest, given to a user who has no others.
type Granted struct {
	kubernetes *lab.Kubernetes
	user       string
	shipped    []right
	mark       int64
}

// Grant applies a manifest, by its path in the module, with the user as the subject of its bindings. It returns
// once the API server acts on all of it; from then on the user's requests count.
func Grant(ctx context.Context, k *lab.Kubernetes, manifest, user string) (*Granted, error) {
	g := &Granted{kubernetes: k, user: user}
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(manifest)))
	if err != nil {
		return nil, fmt.Errorf("rights: %w", err)
	}
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return nil, fmt.Errorf("rights: read %s: %w", manifest, err)
		}
		if _, binding := object.Object["subjects"]; binding {
			object.Object["subjects"] = []any{map[string]any{"apiGroup": rbacv1.GroupName, "kind": "User", "name": user}}
		}
		objects = append(objects, object)
		found, err := rightsOf(document)
		if err != nil {
			return nil, fmt.Errorf("rights: read %s: %w", manifest, err)
		}
		g.shipped = append(g.shipped, found...)
	}
	applier, err := k.Applier()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(applier.Apply(ctx, objects...), g.wait(ctx)); err != nil {
		return nil, err
	}
	g.mark, err = k.AuditMark()
	return g, err
}

func rightsOf(document string) ([]right, error) {
	var role rbacv1.ClusterRole // a Role has its rules in the same place
	if err := yaml.Unmarshal([]byte(document), &role); err != nil {
		return nil, err
	}
	var rights []right
	for _, rule := range role.Rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						rights = append(rights, right{role.Namespace, verb, group, resource, name})
					}
				}
			}
		}
	}
	return rights, nil
}

// wait asks the authorizer, which learns of new bindings a moment after they were written.
func (g *Granted) wait(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(g.kubernetes.RESTConfig())
	if err != nil {
		return fmt.Errorf("rights: client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, r := range g.shipped {
		resource, sub, _ := strings.Cut(r.Resource, "/")
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: g.user, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: sub, Name: r.Name,
			},
		}}
		for {
			answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("rights: ask for %+v: %w", r, err)
			}
			if answer.Status.Allowed {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// covers: a right without a name is one for every name, a right without a namespace one for all of them.
func (r right) covers(used right) bool {
	return r.Verb == used.Verb && r.Group == used.Group && r.Resource == used.Resource &&
		(r.Namespace == "" || r.Namespace == used.Namespace) && (r.Name == "" || r.Name == used.Name)
}

// Least holds the shipped rights to the requests that the API server saw since Grant: each was allowed, and no
// right is there that none of them needed. Anywhere says that what is done may be done in every namespace, though
// the test did it in some; without it, a right for all namespaces must have been used for all of them at once.
func (g *Granted) Least(anywhere bool) error {
	used, err := g.used()
	all := []error{err}
	for _, one := range used {
		if !slices.ContainsFunc(g.shipped, func(r right) bool { return r.covers(one) }) {
			all = append(all, fmt.Errorf("no shipped right is for %+v", one))
		}
	}
	for _, r := range g.shipped {
		switch {
		case !slices.ContainsFunc(used, r.covers):
			all = append(all, fmt.Errorf("nothing needed %+v", r))
		case !anywhere && r.Namespace == "" && !slices.ContainsFunc(used, func(u right) bool { return r.covers(u) && u.Namespace == "" }):
			all = append(all, fmt.Errorf("%+v was used in namespaces only", r))
		}
	}
	return errors.Join(all...)
}

// used are the rights behind the user's requests.
func (g *Granted) used() ([]right, error) {
	requests, err := g.kubernetes.RequestsSince(g.mark, g.user)
	if err != nil {
		return nil, err
	}
	var used []right
	var refused []error
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
		if r.Code == http.StatusForbidden {
			refused = append(refused, fmt.Errorf("the API server refused %s", r.URI))
		}
		used = append(used, one)
		if strings.Contains(r.URI, "sendInitialEvents=true") {
			// An API server that is too old for that is asked for a list instead.
			one.Verb = "list"
			used = append(used, one)
		}
	}
	return used, errors.Join(refused...)
}
