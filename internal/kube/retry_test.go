package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

func TestRetryable(t *testing.T) {
	pod := schema.GroupResource{Resource: "pods"}
	tests := map[string]struct {
		err  error
		want bool
	}{
		"none":               {nil, false},
		"429":                {apierrors.NewTooManyRequests("slow down", 1), true},
		"500":                {apierrors.NewInternalError(errors.New("etcd leader changed")), true},
		"503":                {apierrors.NewServiceUnavailable("starting"), true},
		"504":                {apierrors.NewTimeoutError("slow", 1), true},
		"server timeout":     {apierrors.NewServerTimeout(pod, "get", 1), true},
		"409 conflict":       {apierrors.NewConflict(pod, "x", errors.New("changed")), false},
		"409 exists":         {apierrors.NewAlreadyExists(pod, "x"), false},
		"422":                {apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "x", nil), false},
		"403":                {apierrors.NewForbidden(pod, "x", nil), false},
		"404":                {apierrors.NewNotFound(pod, "x"), false},
		"deadline":           {context.DeadlineExceeded, true},
		"cancelled":          {context.Canceled, false},
		"refused":            {&url.Error{Op: "Get", URL: "x", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, true},
		"reset":              {&url.Error{Op: "Get", URL: "x", Err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}, true},
		"closed by us":       {&url.Error{Op: "Get", URL: "x", Err: net.ErrClosed}, true},
		"EOF":                {&url.Error{Op: "Get", URL: "x", Err: io.EOF}, true},
		"broken off":         {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		"wrapped in Problem": {&recovery.Problem{What: "x", Err: errors.Join(recovery.ErrUnreachable, io.EOF)}, true},
		"anything else":      {errors.New("x509: unknown authority"), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, Retryable(test.err)) })
	}
}

// TestRefusalByAdmission: a webhook that answers 403 refuses the content; who lacks a right is refused in
// other words.
func TestRefusalByAdmission(t *testing.T) {
	tests := map[string]struct {
		message string
		want    error
	}{
		"webhook": {`admission webhook "vcluster.cnpg.io" denied the request: Only one bootstrap method`, recovery.ErrInvalid},
		"quota":   {`configmaps "x" is forbidden: exceeded quota: small`, recovery.ErrInvalid},
		"RBAC":    {`configmaps is forbidden: User "eve" cannot create resource "configmaps" in API group ""`, recovery.ErrDenied},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, func(w http.ResponseWriter, _ *http.Request) {
				writeStatus(t, w, 403, metav1.StatusReasonForbidden, test.message)
			})
			_, err := server.client(t).Create(t.Context(), configMapsResource(), configMapNamed("x"), WriteOptions{})
			require.ErrorIs(t, err, test.want)
			require.Contains(t, err.Error(), test.message)
			require.NotContains(t, err.Error(), "canary-token-4711")
		})
	}
}

func TestListWhereIsAllOrNothing(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("labelSelector") != "a=b" || r.URL.Query().Get("continue") != "" {
			writeStatus(t, w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd leader changed")
			return
		}
		writePage(t, w, 0, 500, "500")
	})

	items, err := server.client(t).ListWhere(t.Context(), pvcs, "ns", "a=b")

	require.Nil(t, items)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.True(t, Retryable(err))
	require.Contains(t, err.Error(), "in namespace ns where a=b")
}
