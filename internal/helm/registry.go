package helm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/registry"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/drctl/drctl/internal/recovery"
)

// fetchOCI fetches a chart from an OCI registry. A tag stands in the location, or is the source's version.
func (c *Client) fetchOCI(parent context.Context, source recovery.ChartSource, location string) (*chart.Chart, error) {
	ctx, cancel := context.WithTimeout(parent, fetchTimeout)
	defer cancel()
	reference := strings.TrimPrefix(location, registry.OCIScheme+"://")
	what := "fetch chart " + location
	if !tagged(reference) {
		if source.Version == "" {
			return nil, &recovery.Problem{What: what, Why: "no version was given", Next: "give it: --chart-version VERSION", Err: recovery.ErrUsage}
		}
		what += " " + source.Version
		reference += ":" + source.Version
	}
	dir, err := os.MkdirTemp("", "drctl-charts-")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	client, err := registryClient(ctx, reference, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pulled, err := client.Pull(reference)
	if err != nil {
		return nil, explainPull(parent, client, what, reference, err)
	}
	return unpack(what, pulled.Chart.Data)
}

// tagged: a colon behind the last slash begins a tag, or belongs to a digest; one before it, a port.
func tagged(reference string) bool {
	return strings.Contains(reference[strings.LastIndex(reference, "/")+1:], ":")
}

// registryClient is a client of the reference's registry. It has the logins of Docker's configuration, and of Helm's own only
// where the environment names that file: otherwise one in the empty folder. This computer's own registry is spoken to
// without TLS.
func registryClient(ctx context.Context, reference, empty string) (*registry.Client, error) {
	logins := os.Getenv("HELM_REGISTRY_CONFIG")
	if logins == "" {
		logins = filepath.Join(empty, "config.json")
	}
	options := []registry.ClientOption{
		registry.ClientOptCredentialsFile(logins),
		registry.ClientOptHTTPClient(&http.Client{Transport: bound{ctx: ctx, next: registry.NewTransport(false)}}),
		registry.ClientOptEnableCache(true),
	}
	if local(reference) {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	return registry.NewClient(options...)
}

func local(reference string) bool {
	host, _, _ := strings.Cut(reference, "/")
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}

// explainPull tells a version that is not there from a registry that does not answer.
func explainPull(ctx context.Context, client *registry.Client, what, reference string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	problem := &recovery.Problem{What: what, Next: "check the address, or give the chart itself: --chart FILE.tgz"}
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		problem.Why, problem.Err = "the registry has no such version of it", errors.Join(recovery.ErrNotFound, err)
		repository := reference[:strings.LastIndex(reference, ":")]
		// What there is instead is told where it can be: an error of this list says nothing that the first did not.
		if tags, tagsErr := client.Tags(repository); tagsErr == nil && len(tags) > 0 {
			problem.Why += "; its newest are " + strings.Join(tags[:min(len(tags), newestShown)], ", ")
			problem.Next = "give one of these: --chart-version " + tags[0]
		}
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		problem.Why, problem.Err = "the registry refuses access", errors.Join(recovery.ErrDenied, err)
		problem.Next = "log in: docker login HOST; or give the chart itself: --chart FILE.tgz"
	default:
		problem.Why = err.Error()
		var request *url.Error
		if errors.As(err, &request) {
			problem.Why = request.Err.Error()
		}
		problem.Err = errors.Join(recovery.ErrUnreachable, err)
	}
	return problem
}
