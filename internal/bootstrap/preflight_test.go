package bootstrap

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// TestChecks spoils one thing each, and sees it named, with what to do about it.
func TestChecks(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(*world)
		check  string
		result recovery.CheckResult
		why    string
		fix    string
	}{
		"old cluster":  {func(w *world) { w.version = "1.29.4" }, "cluster/version", recovery.CheckFail, "older than 1.30", "upgrade"},
		"no admin":     {func(w *world) { w.admin = false }, "cluster/permissions", recovery.CheckFail, "may not do everything", "cluster-admin"},
		"no node":      {func(w *world) { w.nodes = nil }, "cluster/nodes", recovery.CheckFail, "no node", "join"},
		"not ready":    {func(w *world) { w.nodes[0] = recovery.Node{Name: "n1", Why: "cni plugin not initialized"} }, "cluster/nodes", recovery.CheckFail, "cni plugin", "describe nodes"},
		"no cni":       {func(w *world) { w.network = nil }, "network/cni", recovery.CheckFail, "no CNI", "cilium install --version 1.18.2"},
		"sick cilium":  {func(w *world) { w.network.Ready = 2 }, "network/cni", recovery.CheckFail, "2 of 3", "cilium status"},
		"other cilium": {func(w *world) { w.network.Version = "1.17.5" }, "network/cilium-version", recovery.CheckFail, "Cilium 1.17.5 runs, and the tree pins 1.18.2", "cilium upgrade --version 1.18.2"},
		"flannel":      {func(w *world) { w.network.Plugin = "flannel" }, "network/cilium-version", recovery.CheckFail, "runs flannel", "take the other CNI out"},
		"unknown tag":  {func(w *world) { w.network.Version = "" }, "network/cilium-version", recovery.CheckSkip, "can't be compared", "1.18.2"},
		"no class":     {func(w *world) { w.classes = nil }, "storage/classes", recovery.CheckFail, "longhorn is not there", "create the storage class"},
		"chart brings it": {func(w *world) {
			w.classes = nil
			w.tree.pins = append(w.tree.pins, recovery.ChartPin{Name: "longhorn", Version: "1.10.0"})
		}, "storage/classes", recovery.CheckOK, "will come with chart longhorn", ""},
		"no definition":  {func(w *world) { w.tree.defs = []string{"gateways.gateway.networking.k8s.io"} }, "cluster/definitions", recovery.CheckFail, "gateways.gateway", "standard-install.yaml"},
		"missing secret": {func(w *world) { w.files = nil }, "secrets/volsync-system/kopia-credentials", recovery.CheckFail, "it is not there, and Deployment pvc-plumber/pvc-plumber needs it", "fill in secrets/kopia.yaml and give --secrets secrets"},
		"missing key":    {func(w *world) { w.files[0].Values = map[string][]byte{"OTHER": []byte("x")} }, "secrets/volsync-system/kopia-credentials", recovery.CheckFail, "without KOPIA_PASSWORD", "--secrets"},
		"placeholder":    {func(w *world) { w.files[0].Values["KOPIA_PASSWORD"] = []byte("CHANGE-ME") }, "secrets/volsync-system/kopia-credentials", recovery.CheckFail, "CHANGE-ME", "real value"},
		"other value": {func(w *world) {
			w.secrets["volsync-system/kopia-credentials"] = map[string][]byte{"KOPIA_PASSWORD": []byte("older-canary")}
		}, "secrets/volsync-system/kopia-credentials", recovery.CheckFail, "holds another value of KOPIA_PASSWORD", "--replace-secrets"},
		"placeholder in the tree": {func(w *world) {
			w.tree.markers = []recovery.Marker{{File: "a.yaml", Line: 7, Value: true, Text: "domain"}}
		}, "tree/placeholders", recovery.CheckFail, "a.yaml:7 (domain)", "commit and push"},
		"marker": {func(w *world) { w.tree.markers = []recovery.Marker{{File: "a.yaml", Line: 7}} }, "tree/markers", recovery.CheckWarn, "a.yaml:7", "look at each"},
		"no app": {func(w *world) { w.tree.planned = nil }, "tree/applications", recovery.CheckFail, "leads to no Application", "branch"},
		"unread tree": {func(w *world) {
			w.tree.gaps = recovery.Gaps{{What: "expand ApplicationSet x", Why: "its generator is not known"}}
		}, "tree/unread", recovery.CheckSkip, "generator", ""},
		"two exports":  {func(w *world) { w.tree.exports["Deployment a/pvc-plumber"] = "nas:/other" }, "backups/nfs", recovery.CheckFail, "same export", "same in Git"},
		"not pushed":   {func(w *world) { w.git.Pushed, w.git.Head = false, "bbbbbbbbbb" }, "git/pushed", recovery.CheckFail, "bbbbbbb is not on the remote", "git push"},
		"no branch":    {func(w *world) { w.git.RemoteHead = "" }, "git/pushed", recovery.CheckFail, "no branch or tag main", "push"},
		"behind":       {func(w *world) { w.git.Behind = true }, "git/pushed", recovery.CheckWarn, "not checked here", "git pull"},
		"changed":      {func(w *world) { w.git.Changed = []string{"apps/x.yaml"} }, "git/clean", recovery.CheckWarn, "apps/x.yaml", "commit"},
		"other remote": {func(w *world) { w.git.Remote = "https://git.example.org/fork.git" }, "git/repository", recovery.CheckWarn, "fork", "another tree"},
		"unreachable remote": {func(w *world) {
			w.gitErr = &recovery.Problem{What: "ask origin", Why: "could not resolve host", Err: recovery.ErrUnreachable}
		}, "git/remote", recovery.CheckFail, "could not resolve", "Argo CD needs it too"},
		"no checkout": {func(w *world) { w.gitErr = recovery.ErrNotFound }, "git/checkout", recovery.CheckWarn, "no checkout", "clone"},
		"empty kopia": {func(w *world) { w.kopia.Snapshots = 0 }, "backups/kopia", recovery.CheckWarn, "holds no snapshot", "old cluster"},
		"older chart": {func(w *world) {
			w.revisions = []fakeRevision{{Release: recovery.Release{Revision: 1, Status: "deployed", ChartName: ChartName, ChartVersion: "9.2.0"}}}
		}, "argocd/release", recovery.CheckFail, "at chart 9.2.0, and 9.1.0 is older", "--chart-version 9.2.0"},
		"another release": {func(w *world) {
			w.revisions = []fakeRevision{{Release: recovery.Release{Revision: 1, Status: "deployed", ChartName: "nginx", ChartVersion: "1.0.0"}}}
		}, "argocd/release", recovery.CheckFail, "of chart nginx", "something else"},
		"foreign argo": {func(w *world) {
			w.definitions[applicationDefinition] = true
			w.applications["other"] = &recovery.ManagedApplication{Name: "other"}
		}, "argocd/release", recovery.CheckFail, "another Argo CD", "--take-ownership"},
		"unreadable database": {func(w *world) {
			w.tree.databases = []recovery.Database{{Namespace: "db", Name: "immich", ServerName: "v1"}}
			w.heldErr = errors.New("403")
		}, "backups/db/immich", recovery.CheckFail, "can't be read", "AWS_"},
		"database with backups": {func(w *world) {
			w.tree.databases = []recovery.Database{{Namespace: "db", Name: "immich", ServerName: "v1"}}
			w.held["immich"] = DatabaseHolding{Restorable: 2}
		}, "backups/db/immich", recovery.CheckOK, "drctl cnpg recover immich", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c.spoil(w)
			o := w.options()
			if len(w.files) == 0 {
				o.SecretsDir = ""
			}
			prepared, err := w.use().Check(t.Context(), o)
			require.NoError(t, err)
			found := map[string]recovery.Check{}
			for _, check := range prepared.Checks {
				name := check.Area + "/" + check.Name
				if before, twice := found[name]; !twice || before.Result == recovery.CheckOK {
					found[name] = check
				}
				require.NotContains(t, check.Why+check.Fix, "canary")
			}
			check := found[c.check]
			require.Equal(t, c.result, check.Result, "%+v", prepared.Checks)
			require.Contains(t, check.Why, c.why)
			require.Contains(t, check.Fix, c.fix)
			_, err = w.use().Prepare(t.Context(), o)
			require.Equal(t, c.result == recovery.CheckFail, errors.Is(err, ErrChecks), "%v", err)
			if c.result == recovery.CheckFail && c.check != "secrets/volsync-system/kopia-credentials" {
				o.Accept = []string{c.check}
				_, err = w.use().Prepare(t.Context(), o)
				require.Equal(t, strings.HasPrefix(c.check, "argocd/"), errors.Is(err, ErrChecks), "%v", err)
			}
			require.Empty(t, w.root)
		})
	}
}

func TestAllIsWell(t *testing.T) {
	w := newWorld()
	prepared, err := w.use().Check(t.Context(), w.options())
	require.NoError(t, err)
	for _, check := range prepared.Checks {
		require.Equal(t, recovery.CheckOK, check.Result, "%+v", check)
		require.Empty(t, check.Fix)
	}
	require.Greater(t, len(prepared.Checks), 9)
}

func TestWhichChart(t *testing.T) {
	for name, c := range map[string]struct {
		given, want recovery.ChartSource
		pins        []recovery.ChartPin
		fails       string
	}{
		"as pinned":  {want: recovery.ChartSource{Location: ChartName, Repository: "https://charts.example.org", Version: "9.1.0"}},
		"oci pinned": {pins: []recovery.ChartPin{{Name: ChartName, Repository: "oci://r.example.org/charts", Version: "9.1.0"}}, want: recovery.ChartSource{Location: "oci://r.example.org/charts/argo-cd", Version: "9.1.0"}},
		"file":       {given: recovery.ChartSource{Location: "./argo-cd.tgz"}, want: recovery.ChartSource{Location: "./argo-cd.tgz"}},
		"version":    {given: recovery.ChartSource{Version: "9.2.0"}, want: recovery.ChartSource{Location: ChartName, Repository: "https://charts.example.org", Version: "9.2.0"}},
		"no pin":     {pins: []recovery.ChartPin{}, given: recovery.ChartSource{Version: "9.2.0"}, want: recovery.ChartSource{Location: ChartName, Repository: "https://argoproj.github.io/argo-helm", Version: "9.2.0"}},
		"no version": {pins: []recovery.ChartPin{}, fails: "--chart-version"},
		"two pins":   {pins: []recovery.ChartPin{{Name: ChartName, Version: "9.1.0", Source: "a"}, {Name: ChartName, Version: "9.2.0", Source: "b"}}, fails: "make them agree"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if c.pins != nil {
				w.tree.pins = c.pins
			}
			params, err := w.use().params(t.Context(), Options{Chart: c.given})
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, params.Chart)
		})
	}
}
