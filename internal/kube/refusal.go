package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusal keeps why a SPDY connection did not come about: client-go hands on no more than a text, with the
// whole command in it. Source: client-go transport/spdy/spdy.go, Negotiate.
type refusal struct {
	mu  sync.Mutex
	err error
}

func (r *refusal) keep(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	return err
}

// orElse is the refusal, or err when there was none.
func (r *refusal) orElse(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return err
}

// wrap watches a transport.
func (r *refusal) wrap(next http.RoundTripper) http.RoundTripper {
	return refusalTransport{next: next, refusal: r}
}

type refusalTransport struct {
	next    http.RoundTripper
	refusal *refusal
}

// RoundTrip passes on what was not refused.
func (t refusalTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, t.refusal.keep(err)
	}
	if response.StatusCode < http.StatusBadRequest {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return nil, t.refusal.keep(fmt.Errorf("read the refusal (%s): %w", response.Status, err))
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return nil, t.refusal.keep(&apierrors.StatusError{ErrStatus: status})
	}
	return nil, t.refusal.keep(apierrors.NewGenericServerResponse(response.StatusCode, request.Method,
		schema.GroupResource{Resource: "pods"}, "", strings.TrimSpace(string(body)), 0, true))
}
