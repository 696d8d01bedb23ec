package helm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/registry"
	repo "helm.sh/helm/v4/pkg/repo/v1"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// fetchTimeout bounds one download, so that a server that accepts and never answers is noticed.
	fetchTimeout = 2 * time.Minute
	// fetchLimit is far above the largest index and the largest chart, which a release's Secret bounds.
	fetchLimit = 256 << 20
	// newestShown is how many versions are named when the one that was asked for is not there.
	newestShown = 5
)

// fetchRepository fetches a chart from a repository with an index.yaml.
func (c *Client) fetchRepository(ctx context.Context, source recovery.ChartSource) (*chart.Chart, error) {
	index, err := c.index(ctx, source)
	if err != nil {
		return nil, err
	}
	version, err := pick(index, source)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("fetch chart %s of %s", name(source), shown(source.Repository))
	if len(version.URLs) == 0 {
		return nil, &recovery.Problem{What: what, Why: "the repository names no file for it", Next: "give the chart itself: --chart FILE.tgz", Err: recovery.ErrDamaged}
	}
	location, err := repo.ResolveReferenceURL(source.Repository, version.URLs[0])
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: "the repository's URL of it can't be read", Next: "give the chart itself: --chart FILE.tgz", Err: recovery.ErrDamaged}
	}
	if registry.IsOCI(location) {
		return c.fetchOCI(ctx, source, location)
	}
	content, err := c.archive(ctx, what, location, strings.TrimPrefix(version.Digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	return unpack(what, content)
}

// index reads what the repository has. Helm reads an index from files only.
func (c *Client) index(ctx context.Context, source recovery.ChartSource) (*repo.IndexFile, error) {
	what := fmt.Sprintf("read the chart repository %s", shown(source.Repository))
	location, err := repo.ResolveReferenceURL(source.Repository, "index.yaml")
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: "that is no URL", Next: "give it as https://HOST/PATH", Err: recovery.ErrUsage}
	}
	content, err := download(ctx, what, location)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "drctl-charts-")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "index.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	index, err := repo.LoadIndexFile(path)
	if err != nil {
		return nil, &recovery.Problem{
			What: what, Why: "its index.yaml can't be read", Next: "check the URL, or give the chart itself: --chart FILE.tgz",
			Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return index, nil
}

// pick finds exactly the version that was asked for; Helm would take the closest one.
func pick(index *repo.IndexFile, source recovery.ChartSource) (*repo.ChartVersion, error) {
	versions := index.Entries[source.Location]
	var newest []string
	for _, version := range versions {
		if source.Version != "" && sameVersion(version.Version, source.Version) {
			return version, nil
		}
		if len(newest) < newestShown {
			newest = append(newest, version.Version)
		}
	}
	problem := &recovery.Problem{
		What: fmt.Sprintf("find chart %s in %s", name(source), shown(source.Repository)), Err: recovery.ErrNotFound,
	}
	switch {
	case len(versions) == 0:
		problem.Why, problem.Next = "the repository has no chart of that name", "check --chart and --chart-repo"
	case source.Version == "":
		problem.Why, problem.Next, problem.Err = "no version was given", "choose one: --chart-version "+newest[0], recovery.ErrUsage
	default:
		problem.Why = "the repository has no such version of it; its newest are " + strings.Join(newest, ", ")
		problem.Next = "give one of these: --chart-version " + newest[0]
	}
	return nil, problem
}

// archive is a chart's file, from the cache where it is there. With a digest it must be the one that the index tells.
func (c *Client) archive(ctx context.Context, what, location, digest string) ([]byte, error) {
	path := filepath.Join(c.cacheDir, "charts", digest+".tgz")
	if digest != "" {
		if content := c.cached(path); content != nil && hexDigest(content) == digest {
			return content, nil
		}
	}
	content, err := download(ctx, what, location)
	if err != nil {
		return nil, err
	}
	if digest == "" {
		return content, nil
	}
	if got := hexDigest(content); got != digest {
		return nil, &recovery.Problem{
			What: what, Why: fmt.Sprintf("the file's digest is %s, and the repository's index says %s", got, digest),
			Next: "have the repository put right, or give the chart itself: --chart FILE.tgz", Err: recovery.ErrDamaged,
		}
	}
	if c.cacheDir != "" {
		// A cache that can't be written costs a download the next time, and nothing else.
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			_ = os.WriteFile(path, content, 0o600)
		}
	}
	return content, nil
}

func hexDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// download fetches a URL, through the proxy of the environment.
func download(parent context.Context, what, location string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(parent, fetchTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: "its URL can't be read", Next: "give it as https://HOST/PATH", Err: recovery.ErrUsage}
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, unreachable(parent, what, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, answered(what, response)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, fetchLimit))
	if err != nil {
		return nil, unreachable(parent, what, err)
	}
	return content, nil
}

func unreachable(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return &recovery.Problem{
		What: what, Why: err.Error(), Next: "check the URL and the proxy, or give the chart itself: --chart FILE.tgz",
		Err: errors.Join(recovery.ErrUnreachable, err),
	}
}

func answered(what string, response *http.Response) error {
	problem := &recovery.Problem{What: what, Why: "the server answers " + response.Status, Next: "check the URL, or give the chart itself: --chart FILE.tgz"}
	switch response.StatusCode {
	case http.StatusNotFound:
		problem.Err = recovery.ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		problem.Err = recovery.ErrDenied
		problem.Next = "give the repository's user and password in its URL, or the chart itself: --chart FILE.tgz"
	default:
		problem.Err = recovery.ErrUnreachable
	}
	return problem
}

// shown is a URL without its password.
func shown(location string) string {
	parsed, err := url.Parse(location)
	if err != nil {
		return "(not a URL)"
	}
	return parsed.Redacted()
}
