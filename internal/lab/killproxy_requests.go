package lab

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// record adds a request to the log. It reads the body of a deletion, which may say that it is a dry run.
func (p *KillProxy) record(target ProxyTarget, r *http.Request) ProxyRequest {
	request := ProxyRequest{Target: target, Method: r.Method, Path: p.normalise(r.URL), Mutating: mutating(target, r)}
	request.N = len(p.requests) + 1
	if request.Mutating {
		p.mutating++
		request.MutatingN = p.mutating
	}
	p.requests = append(p.requests, request)
	return request
}

// mutating tells whether a request changes something when it succeeds.
func mutating(target ProxyTarget, r *http.Request) bool {
	switch target {
	case TargetS3:
		return r.Method == http.MethodPut || r.Method == http.MethodDelete || r.Method == http.MethodPost
	case TargetGit:
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
	case TargetAPI:
		return mutatesAPI(r)
	case TargetCharts: // it is only read
	}
	return false
}

// mutatesAPI leaves out dry runs, questions about rights, connections into a container, and the renewal
// of a Lease: that happens by the clock, and would make the count differ from run to run. (Taking a
// Lease is a creation, giving it back a deletion.)
func mutatesAPI(r *http.Request) bool {
	segments := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return false
	}
	if slices.Contains(segments, "authorization.k8s.io") || slices.Contains(segments, "authentication.k8s.io") {
		return false
	}
	switch segments[len(segments)-1] {
	case "exec", "attach", "portforward", "token":
		return false
	}
	if slices.Contains(segments, "leases") && (r.Method == http.MethodPut || r.Method == http.MethodPatch) {
		return false
	}
	return r.URL.Query().Get("dryRun") == "" && !dryRunInBody(r)
}

// dryRunInBody reads DeleteOptions, the one place where a dry run is asked for in the body.
func dryRunInBody(r *http.Request) bool {
	if r.Method != http.MethodDelete || r.Body == nil {
		return false
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return false
	}
	// JSON of a dynamic client, protobuf of a typed one.
	options := &metav1.DeleteOptions{}
	_, _, err = scheme.Codecs.UniversalDeserializer().Decode(body, nil, options)
	return err == nil && len(options.DryRun) > 0
}

// normalisation replaces what differs from run to run.
type normalisation struct {
	pattern     *regexp.Regexp
	replacement string
}

func normalisations() []normalisation {
	return []normalisation{
		{regexp.MustCompile(`\b[a-z]+(-[a-z]+)*-\d{8}-\d{6}-[a-z0-9]+`), "PLAN"},
		{regexp.MustCompile(`(/pods/[A-Za-z0-9-]+)-[a-z0-9]{5}\b`), "$1-POD"},
		{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UID"},
		{regexp.MustCompile(`\d{8}T\d{6}`), "TIME"},
		{regexp.MustCompile(`\b(sh\.helm\.release\.v1\.[a-z0-9-]+)\.v\d+\b`), "$1.REVISION"},
		{regexp.MustCompile(`\b[0-9A-F]{16}/[0-9A-F]{24}\b`), "WAL"},
		{regexp.MustCompile(`\b[0-9A-F]{24}\b`), "WAL"},
		{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "HASH"},
	}
}

func (p *KillProxy) normalise(from *url.URL) string {
	query := url.Values{}
	for _, key := range []string{"dryRun", "watch", "labelSelector", "fieldSelector", "list-type", "prefix", "service", "container"} {
		if from.Query().Has(key) {
			query.Set(key, from.Query().Get(key))
		}
	}
	path := from.Path
	if len(query) > 0 {
		// Readable rather than escaped: nobody parses it.
		text, err := url.QueryUnescape(query.Encode())
		if err == nil {
			path += "?" + text
		}
	}
	for _, n := range p.normal {
		path = n.pattern.ReplaceAllString(path, n.replacement)
	}
	return path
}
