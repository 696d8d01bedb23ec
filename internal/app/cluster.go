package app

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// errNoKubeconfig: nothing says which cluster. It is told apart from a cluster that does not answer.
var errNoKubeconfig = errors.New("no kubeconfig")

// now is the clock of every use case.
func now() time.Time { return time.Now().UTC() }

// openCluster makes the client of the cluster that kubeconfig and flags name; it sends nothing.
func (a *App) openCluster() (*kube.Client, error) {
	flags := a.settings.Kube
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, &recovery.Problem{What: "read the kubeconfig", Why: err.Error(), Next: "correct it, or give --kubeconfig FILE", Err: err}
	}
	context := raw.CurrentContext
	if flags.Context != nil && *flags.Context != "" {
		context = *flags.Context
		if _, known := raw.Contexts[context]; !known {
			return nil, &recovery.Problem{
				What: fmt.Sprintf("the kubeconfig has no context %q", context), Why: "it has " + strings.Join(contexts(raw.Contexts), ", "),
				Next: "give one of them with --context", Err: recovery.ErrUsage,
			}
		}
	}
	// cli-runtime falls back to http://localhost:8080 where nothing is configured: that is no cluster.
	given := (flags.APIServer != nil && *flags.APIServer != "") || a.getenv("KUBERNETES_MASTER") != ""
	if len(raw.Clusters) == 0 && !given {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, &recovery.Problem{
				What: "no cluster is configured", Why: "there is no kubeconfig (" + a.kubeconfigPaths() + ")",
				Next: "give --kubeconfig FILE; if the cluster is gone: --offline with --gitops DIR, --repo or --destination-path",
				Err:  errNoKubeconfig,
			}
		}
		return a.newCluster(kube.Options{REST: config})
	}
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, &recovery.Problem{What: "read the kubeconfig", Why: err.Error(), Next: "see kubectl config view; or give --context", Err: err}
	}
	return a.newCluster(kube.Options{REST: config, Context: context})
}

func (a *App) newCluster(o kube.Options) (*kube.Client, error) {
	client, err := kube.New(o)
	if err != nil {
		return nil, err
	}
	name := client.Server()
	if o.Context != "" {
		name += " (context " + o.Context + ")"
	}
	a.account.add("Kubernetes API "+name, client.Requests)
	return client, nil
}

func (a *App) kubeconfigPaths() string {
	if flag := a.settings.Kube.KubeConfig; flag != nil && *flag != "" {
		return *flag
	}
	if paths := a.getenv("KUBECONFIG"); paths != "" {
		return strings.ReplaceAll(paths, string(os.PathListSeparator), ", ")
	}
	return "~/.kube/config"
}

func contexts[T any](all map[string]T) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
