package gitops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/drctl/drctl/internal/recovery"
)

// waveAnnotation orders the objects of a sync. Source: argo-cd gitops-engine pkg/sync/common/types.go.
const waveAnnotation = "argocd.argoproj.io/sync-wave"

// Platform is a tree as Argo CD would install it: the root Application, what it makes, and what that needs. It may be
// used from several goroutines.
type Platform struct {
	tree *Tree

	mu    sync.Mutex
	known *model
}

// NewPlatform looks at nothing yet.
func NewPlatform(tree *Tree) *Platform { return &Platform{tree: tree} }

// Dir is the tree's folder, absolute.
func (p *Platform) Dir() string { return p.tree.root }

// model is what was found by following the root.
type model struct {
	root    *rootManifest
	rootErr error
	// applications are those that the root makes, by wave and name.
	applications []application
	// gaps are what could not be expanded.
	gaps recovery.Gaps
	// synced are the objects that Argo CD brings, unseen who brings what can't be seen.
	synced []entry
	unseen []unseen
	pins   []pin
	pinned recovery.Gaps
}

// application is an Application that the root makes.
type application struct {
	recovery.PlannedApplication
	// file is where it, or its set, stands.
	file string
	spec applicationSpec
}

// applicationSpec is the part of an Application's specification that is read.
// Source: argo-cd pkg/apis/application/v1alpha1/types.go.
type applicationSpec struct {
	Source      *applicationSource  `json:"source"`
	Sources     []applicationSource `json:"sources"`
	Destination struct {
		Namespace string `json:"namespace"`
	} `json:"destination"`
}

// all are the sources; Argo CD leaves source out of account where there are sources.
func (s *applicationSpec) all() []applicationSource {
	if len(s.Sources) == 0 && s.Source != nil {
		return []applicationSource{*s.Source}
	}
	return s.Sources
}

type applicationSource struct {
	RepoURL        string `json:"repoURL"`
	Path           string `json:"path"`
	TargetRevision string `json:"targetRevision"`
	Chart          string `json:"chart"`
	Ref            string `json:"ref"`
	Directory      struct {
		Recurse bool   `json:"recurse"`
		Include string `json:"include"`
		Exclude string `json:"exclude"`
	} `json:"directory"`
	Helm struct {
		ReleaseName             string         `json:"releaseName"`
		Namespace               string         `json:"namespace"`
		ValueFiles              []string       `json:"valueFiles"`
		IgnoreMissingValueFiles bool           `json:"ignoreMissingValueFiles"`
		Values                  string         `json:"values"`
		ValuesObject            map[string]any `json:"valuesObject"`
		Parameters              []struct {
			Name        string `json:"name"`
			Value       string `json:"value"`
			ForceString bool   `json:"forceString"`
		} `json:"parameters"`
		FileParameters []any `json:"fileParameters"`
	} `json:"helm"`
}

func applicationOf(object *unstructured.Unstructured) (applicationSpec, error) {
	var whole struct {
		Spec applicationSpec `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &whole); err != nil {
		return applicationSpec{}, &recovery.Problem{
			What: fmt.Sprintf("read %s %s", object.GetKind(), object.GetName()), Why: err.Error(), Next: "correct the manifest", Err: recovery.ErrDamaged,
		}
	}
	return whole.Spec, nil
}

// Applications are those that the root will make, by wave and name. What could not be told is a gap.
func (p *Platform) Applications(ctx context.Context) ([]recovery.PlannedApplication, recovery.Gaps, error) {
	known, err := p.model(ctx)
	if err != nil {
		return nil, nil, err
	}
	if known.rootErr != nil {
		return nil, nil, known.rootErr
	}
	planned := make([]recovery.PlannedApplication, 0, len(known.applications))
	for i := range known.applications {
		planned = append(planned, known.applications[i].PlannedApplication)
	}
	return planned, slices.Clone(known.gaps), nil
}

// reader follows the root. It builds kustomizations, each once.
type reader struct {
	tree   *Tree
	loader *loader
	repos  []string
	model  *model
	seen   map[string]bool
}

// model follows the root once.
func (p *Platform) model(ctx context.Context) (*model, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	r := &reader{tree: p.tree, loader: newLoader(p.tree.root), model: &model{}, seen: map[string]bool{}}
	if r.model.root, r.model.rootErr = r.findRoot(); r.model.rootErr == nil {
		for _, source := range r.model.root.spec.all() {
			r.repos = append(r.repos, sameRepository(source.RepoURL))
		}
		r.seen[r.model.root.object.GetName()] = true
		if err := r.follow(ctx, r.model.root.object.GetName(), &r.model.root.spec); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(r.model.applications, func(x, y application) int {
		return cmp.Or(cmp.Compare(x.Wave, y.Wave), cmp.Compare(x.Name, y.Name))
	})
	r.findPins()
	p.known = r.model
	return p.known, nil
}

// sameRepository is an address without what two of the same repository may differ in.
func sameRepository(address string) string {
	address = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(address)), "/"), ".git")
	if parsed, err := url.Parse(address); err == nil && parsed.Host != "" {
		return parsed.Hostname() + "/" + strings.Trim(parsed.Path, "/")
	}
	_, rest, hasUser := strings.Cut(address, "@")
	if host, folder, isSCP := strings.Cut(rest, ":"); hasUser && isSCP {
		return host + "/" + strings.Trim(folder, "/")
	}
	return address
}

// here: the source is this tree. An Application without an address is one of the tree, too: only a template has none.
func (r *reader) here(repository string) bool {
	return repository == "" || slices.Contains(r.repos, sameRepository(repository))
}

// follow takes what an Application syncs, and goes on with the Applications among it.
func (r *reader) follow(ctx context.Context, name string, spec *applicationSpec) error {
	for _, source := range spec.all() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("follow Application %s in the GitOps tree: %w", name, err)
		}
		namespace := spec.Destination.Namespace
		switch {
		case source.Chart != "":
			r.model.unseen = append(r.model.unseen, unseen{namespace, "chart " + source.Chart})
		case source.Ref != "" && source.Path == "":
		case !r.here(source.RepoURL):
			r.model.unseen = append(r.model.unseen, unseen{namespace, withoutUserInfo(source.RepoURL)})
		default:
			if err := r.followFolder(ctx, name, &source, namespace); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) followFolder(ctx context.Context, name string, source *applicationSource, namespace string) error {
	found, missing := r.contents(source, namespace)
	if missing != nil {
		r.model.gaps.Add("", &recovery.Problem{
			What: fmt.Sprintf("follow Application %s to folder %s", name, source.Path), Why: "the tree has no such folder",
			Next: "correct its path, or give --gitops the checkout that has it", Err: errors.Join(recovery.ErrNotFound, missing),
		})
		return nil
	}
	if len(found.gaps) > 0 {
		r.model.unseen = append(r.model.unseen, unseen{namespace, "folder " + source.Path})
	}
	r.model.synced = append(r.model.synced, found.entries...)
	r.model.unseen = append(r.model.unseen, found.unseen...)
	isRoot := r.model.root != nil && name == r.model.root.object.GetName()
	if isRoot && len(found.entries) == 0 && len(found.unseen) > 0 {
		r.model.gaps.Add("", &recovery.Problem{
			What: "list the Applications of the root", Why: "they come from " + found.unseen[0].who + ", which drctl does not render",
			Next: "compare with what Argo CD shows once it runs", Err: recovery.ErrUnsupported,
		})
	}
	for i := range found.entries {
		if err := r.followEntry(ctx, &found.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// followEntry goes on with an Application or an ApplicationSet.
func (r *reader) followEntry(ctx context.Context, e *entry) error {
	switch {
	case isArgo(&e.object, "Application"):
		return r.take(ctx, &e.object, e.file, "", waveOf(&e.object))
	case isArgo(&e.object, "ApplicationSet"):
		made, gaps := r.expand(e)
		r.model.gaps = append(r.model.gaps, gaps...)
		for i := range made {
			if err := r.take(ctx, &made[i], e.file, e.object.GetName(), waveOf(&e.object)); err != nil {
				return err
			}
		}
	}
	return nil
}

// take adds an Application and follows it. One that was taken already, the root above all, is not followed again.
func (r *reader) take(ctx context.Context, object *unstructured.Unstructured, file, set string, wave int) error {
	spec, err := applicationOf(object)
	if err != nil {
		r.model.gaps.Add("", err)
		return nil
	}
	if r.seen[object.GetName()] {
		return nil
	}
	r.seen[object.GetName()] = true
	app := application{PlannedApplication: recovery.PlannedApplication{Name: object.GetName(), Wave: wave, Set: set}, file: file, spec: spec}
	for _, source := range spec.all() {
		if source.Ref != "" && source.Path == "" && source.Chart == "" {
			continue
		}
		app.RepoURL, app.Revision = source.RepoURL, source.TargetRevision
		if source.Chart == "" {
			app.Path = strings.TrimPrefix(strings.Trim(source.Path, "/"), "./")
		}
		break
	}
	r.model.applications = append(r.model.applications, app)
	return r.follow(ctx, app.Name, &app.spec)
}

func waveOf(object *unstructured.Unstructured) int {
	wave, err := strconv.Atoi(object.GetAnnotations()[waveAnnotation])
	if err != nil {
		return 0 // as for Argo CD
	}
	return wave
}
