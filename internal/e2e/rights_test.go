package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/drctl/drctl/internal/lab"
)

// TestTheShippedRightsAreTheLeast lets a user with docs/rbac-read.yaml alone run everything that reads,
// with nothing configured, and holds the rights of the file to the requests that the API server saw:
// none is missing and none is too many.
func TestTheShippedRightsAreTheLeast(t *testing.T) {
	l := shared.Lab(t)
	require.NoError(t, l.GrantRead(t.Context(), lab.ReaderUser))
	kubeconfig, err := l.Kubernetes.KubeconfigFor(lab.ReaderUser)
	require.NoError(t, err)
	mark, err := l.Kubernetes.AuditMark()
	require.NoError(t, err)
	everything := []string{"KUBECONFIG=" + kubeconfig}
	withRepository := append(everything, "DRCTL_REPO="+l.Repository)
	for _, command := range []struct {
		args        string
		environment []string
		code        int
	}{
		{"pvc list", withRepository, 0},
		{"pvc snapshots karakeep/data-pvc", withRepository, 0},
		{"cnpg list", everything, 0},
		{"cnpg backups immich", everything, 0},
		{"__complete pvc list -n k", everything, 0},
		{"pvc list", everything, 3}, // the repository is looked for in the cluster, and the lab has none of its carriers
	} {
		got := run(t, l, command.environment, strings.Fields(command.args)...)
		require.Equal(t, command.code, got.code, command.args+"\n"+got.stderr)
	}
	requests, err := l.Kubernetes.RequestsSince(mark, lab.ReaderUser)
	require.NoError(t, err)
	var used []string
	for _, r := range requests {
		if r.Resource == "" {
			continue // discovery, which everybody may ask for
		}
		require.NotEqual(t, 403, r.Code, r.URI)
		name := ""
		if r.Resource == "secrets" {
			name = r.Name
		}
		used = append(used, strings.Join([]string{r.Verb, r.Group, r.Resource, name}, " "))
	}
	require.Equal(t, shippedRights(t), sortedOnce(used))
}

// shippedRights are "verb group resource name" of every rule in docs/rbac-read.yaml.
func shippedRights(t *testing.T) []string {
	t.Helper()
	root, err := lab.ModuleRoot()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "rbac-read.yaml"))
	require.NoError(t, err)
	var rights []string
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has its rules in the same place
		require.NoError(t, yaml.Unmarshal([]byte(document), &role))
		for _, rule := range role.Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, right := range combinations(rule.Verbs, rule.APIGroups, rule.Resources, names) {
				rights = append(rights, strings.Join(right, " "))
			}
		}
	}
	return sortedOnce(rights)
}

// combinations are all choices of one word from each list.
func combinations(lists ...[]string) [][]string {
	all := [][]string{nil}
	for _, list := range lists {
		var longer [][]string
		for _, words := range all {
			for _, word := range list {
				longer = append(longer, append(slices.Clone(words), word))
			}
		}
		all = longer
	}
	return all
}

func sortedOnce(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
