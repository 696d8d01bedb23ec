package gitops

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// installed is the tree of testdata/bootstrap.txtar.
func installed(t *testing.T, more ...string) *Platform {
	t.Helper()
	content, err := os.ReadFile("testdata/bootstrap.txtar")
	require.NoError(t, err)
	return platformOf(t, string(content)+strings.Join(more, ""))
}

func platformOf(t *testing.T, archive string) *Platform {
	t.Helper()
	tree, _ := open(t, archive)
	return NewPlatform(tree)
}

const appOfApps = `
-- apps/bootstrap.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: all}
spec: {source: {repoURL: r, path: apps/children}}
-- apps/children/one.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: one}
spec: {source: {repoURL: r, path: apps/grandchildren}}
-- apps/grandchildren/two.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: two}
spec: {source: {repoURL: r, path: apps/nowhere}}
`

func TestRoot(t *testing.T) {
	manifest, file, err := installed(t).Root(t.Context())
	require.NoError(t, err)
	require.Equal(t, "infrastructure/controllers/argocd/root.yaml", file)
	var root struct {
		Kind     string
		Metadata struct{ Name string }
	}
	require.NoError(t, json.Unmarshal(manifest, &root))
	require.Equal(t, "Application root", root.Kind+" "+root.Metadata.Name)
	require.NotContains(t, string(manifest), recovery.DirectoryAnnotation)

	_, file, err = platformOf(t, appOfApps).Root(t.Context())
	require.NoError(t, err)
	require.Equal(t, "apps/bootstrap.yaml", file, "the outermost of those that lead to others")

	_, _, err = platformOf(t, "-- a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").Root(t.Context())
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, _, err = installed(t, "-- old/argocd/root.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: old}\nspec: {source: {repoURL: r, path: x}}\n").Root(t.Context())
	require.ErrorIs(t, err, recovery.ErrDamaged)
	require.ErrorContains(t, err, "root in infrastructure/controllers/argocd/root.yaml, old in old/argocd/root.yaml")
	second := strings.NewReplacer("apps/", "apps2/", "name: ", "name: second-").Replace(appOfApps)
	_, _, err = platformOf(t, appOfApps+second).Root(t.Context())
	require.ErrorContains(t, err, "all in apps/bootstrap.yaml, second-all in apps2/bootstrap.yaml")
}

func TestApplications(t *testing.T) {
	planned, gaps, err := installed(t).Applications(t.Context())
	require.NoError(t, err)
	require.Empty(t, gapTexts(gaps))
	const here = "https://git.example.invalid/platform.git"
	require.Equal(t, []recovery.PlannedApplication{
		{Name: "argocd", Wave: -1, Path: "infrastructure/controllers/argocd", RepoURL: "git@git.example.invalid:platform.git"},
		{Name: "cilium", RepoURL: "https://helm.cilium.io", Revision: "v1.18.2"},
		{Name: "outside", Path: "x", RepoURL: "https://git.example.invalid/another.git", Revision: "v2"},
		{Name: "volsync", Wave: 1, RepoURL: "ghcr.io/charts", Revision: "0.x"},
		{Name: "pvc-plumber", Wave: 2, Path: "infrastructure/controllers/pvc-plumber", RepoURL: here},
		{Name: "kyverno", Wave: 3, Path: "infrastructure/controllers/kyverno", RepoURL: here},
		{Name: "policies", Wave: 3, Path: "infrastructure/policies", RepoURL: here},
		{Name: "databases-cloudnative-pg", Wave: 4, Path: "infrastructure/database/cnpg/immich", Set: "infrastructure", RepoURL: here, Revision: "main"},
		{Name: "gateway-gateway", Wave: 4, Path: "infrastructure/networking/gateway", Set: "infrastructure", RepoURL: here, Revision: "main"},
		{Name: "immich", Wave: 6, Path: "my-apps/media/immich", Set: "my-apps", RepoURL: here, Revision: "main"},
	}, planned)
}

func TestApplicationsSaysWhatItCanNotExpand(t *testing.T) {
	set := func(spec string) string {
		return "-- argocd/root.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: root}\nspec: {source: {repoURL: r, path: apps}}\n" +
			"-- a/b/x.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n" +
			"-- apps/set.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: set}\nspec: " + spec + "\n"
	}
	for name, test := range map[string]struct {
		spec, gap string
		names     []string
	}{
		"a generator of the cluster": {`{generators: [{clusters: {}}, {list: {elements: [{item: a}]}}], template: {metadata: {name: "{{item}}"}}}`, "its generator clusters needs the cluster", []string{"a"}},
		"files":                      {`{generators: [{git: {repoURL: r, files: [{path: "*"}]}}], template: {metadata: {name: x}}}`, "its generator has files", nil},
		"another repository":         {`{generators: [{git: {repoURL: other, directories: [{path: "*"}]}}], template: {metadata: {name: x}}}`, "it looks into another repository, other", nil},
		"a missing key":              {`{goTemplate: true, goTemplateOptions: [missingkey=error, odd=1], generators: [{list: {elements: [{item: a}]}}], template: {metadata: {name: "{{.missing}}"}}}`, "its template fails", nil},
		"a function":                 {`{goTemplate: true, generators: [{list: {elements: [{item: a}]}}], template: {metadata: {name: "{{env .item}}"}}}`, `function "env" not defined`, nil},
		"a pattern":                  {`{generators: [{git: {repoURL: r, directories: [{path: "a["}]}}], template: {metadata: {name: x}}}`, "is no pattern", nil},
		"a patch":                    {`{templatePatch: x, generators: [{git: {repoURL: r, pathParamPrefix: p, directories: [{path: "a/*"}]}}], template: {metadata: {name: "{{p.path[0]}}-{{p.path.basename}}"}}}`, "its templatePatch was not applied", []string{"a-b"}},
		"a selector":                 {`{generators: [{list: {elements: [{item: a}]}, selector: {matchLabels: {item: b}}}], template: {metadata: {name: "{{item}}{{unknown}}"}}}`, "selects its parameters", []string{"a{{unknown}}"}},
		"no name":                    {`{generators: [{list: {elements: [{item: a}]}}], template: {spec: {}}}`, "gives an Application no name", nil},
		"not readable":               {`{generators: [{list: {elements: a}}], template: {}}`, "can't be read", nil},
		"a folder that is not there": {`{generators: [{list: {elements: [{item: a}]}}], template: {metadata: {name: "{{item}}"}, spec: {source: {repoURL: r, path: gone}}}}`, "follow Application a to folder gone: the tree has no such folder", []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			planned, gaps, err := platformOf(t, set(test.spec)).Applications(t.Context())
			require.NoError(t, err)
			require.Len(t, gaps, 1)
			require.Contains(t, gaps[0].Error(), test.gap)
			var names []string
			for _, app := range planned {
				names = append(names, app.Name)
			}
			require.Equal(t, test.names, names)
		})
	}
}

// TestApplicationsOfAChart: a root whose folder is a chart leads to what is not known.
func TestApplicationsOfAChart(t *testing.T) {
	planned, gaps, err := platformOf(t, `
-- argocd/root.yaml --
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: root}
spec: {source: {repoURL: r, path: apps}}
-- apps/Chart.yaml --
name: apps
`).Applications(t.Context())
	require.NoError(t, err)
	require.Empty(t, planned)
	require.Len(t, gaps, 1)
	require.Contains(t, gaps[0].Error(), "they come from chart apps, which drctl does not render")
}

func TestSameRepository(t *testing.T) {
	for _, address := range []string{
		"https://git.example.invalid/platform", "https://user:word@git.example.invalid/platform.git/", "git@git.example.invalid:platform.git",
		"ssh://git@git.example.invalid:2222/platform.git", "HTTPS://git.example.invalid/Platform.git",
	} {
		require.Equal(t, "git.example.invalid/platform", sameRepository(address), address)
	}
	require.NotEqual(t, sameRepository("https://git.example.invalid/a"), sameRepository("https://git.example.invalid/b"))
}

// TestPlatformFromSeveralGoroutines: a preflight asks for everything at once.
func TestPlatformFromSeveralGoroutines(t *testing.T) {
	platform := installed(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			planned, _, err := platform.Applications(t.Context())
			if err != nil || len(planned) != 10 {
				t.Errorf("%d, %v", len(planned), err)
			}
			if _, _, err := platform.Secrets(t.Context()); err != nil {
				t.Error(err)
			}
			if _, _, err := platform.Charts(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
