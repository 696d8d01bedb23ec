package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/recovery"
)

// request is what a test looks at in one HTTP request.
type request struct {
	Path, Limit, Continue, ResourceVersion string
}

// apiServer answers with handle and records what was asked.
type apiServer struct {
	*httptest.Server
	requests []request
}

func newAPIServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request)) *apiServer {
	t.Helper()
	s := &apiServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		s.requests = append(s.requests, request{r.URL.Path, q.Get("limit"), q.Get("continue"), q.Get("resourceVersion")})
		w.Header().Set("Content-Type", "application/json")
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) client(t *testing.T) *Client {
	t.Helper()
	client, err := New(Options{REST: &rest.Config{Host: s.URL, BearerToken: "canary-token-4711"}, Context: "lab"})
	require.NoError(t, err)
	return client
}

// writeStatus answers as an API server refuses.
func writeStatus(t *testing.T, w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	t.Helper()
	w.WriteHeader(code)
	require.NoError(t, json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	}))
}

// writePage answers a LIST of PVCs numbered [from, to).
func writePage(t *testing.T, w http.ResponseWriter, from, to int, next string) {
	t.Helper()
	items := make([]map[string]any, 0, to-from)
	for i := from; i < to; i++ {
		items = append(items, map[string]any{
			"apiVersion": "v1", "kind": "PersistentVolumeClaim",
			"metadata": map[string]any{
				"namespace": "ns", "name": fmt.Sprintf("pvc-%05d", i),
				"managedFields": []any{map[string]any{"manager": "kubectl"}},
			},
		})
	}
	require.NoError(t, json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaimList",
		"metadata": map[string]any{"continue": next, "resourceVersion": "42"}, "items": items,
	}))
}

func TestListReadsInPages(t *testing.T) {
	const total = 1203
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		to := min(from+pageSize, total)
		next := ""
		if to < total {
			next = strconv.Itoa(to)
		}
		writePage(t, w, from, to, next)
	})
	client := server.client(t)

	items, gaps, err := client.List(t.Context(), pvcs, "")

	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Len(t, items, total)
	require.Equal(t, "pvc-01202", items[total-1].GetName())
	require.Nil(t, items[0].GetManagedFields())
	path := "/api/v1/persistentvolumeclaims"
	require.Equal(t, []request{{path, "500", "", ""}, {path, "500", "500", ""}, {path, "500", "1000", ""}}, server.requests)
	require.EqualValues(t, 3, client.Requests())
}

func TestListStartsAgainWhenTheContinueTokenExpired(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("continue") != "":
			writeStatus(t, w, http.StatusGone, metav1.StatusReasonExpired, "the provided continue parameter is too old")
		case q.Get("limit") != "":
			writePage(t, w, 0, 500, "500")
		default:
			writePage(t, w, 0, 700, "")
		}
	})

	items, gaps, err := server.client(t).List(t.Context(), pvcs, "ns")

	require.NoError(t, err)
	require.Empty(t, gaps)
	require.Len(t, items, 700, "the first page must not be there twice")
	require.Equal(t, request{"/api/v1/namespaces/ns/persistentvolumeclaims", "", "", ""}, server.requests[2])
}

func TestListThatBreaksOffKeepsWhatItRead(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continue") != "" {
			writeStatus(t, w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd leader changed")
			return
		}
		writePage(t, w, 0, 500, "500")
	})

	items, gaps, err := server.client(t).List(t.Context(), pvcs, "")

	require.NoError(t, err)
	require.Len(t, items, 500)
	require.Len(t, gaps, 1)
	require.ErrorIs(t, gaps[0], recovery.ErrUnreachable)
	require.Contains(t, gaps[0].Error(), "broken off after 500")
	require.Contains(t, gaps[0].Error(), "etcd leader changed")
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	tests := map[string]struct {
		code   int
		reason metav1.StatusReason
		group  string
		want   error
		text   []string
	}{
		"401 expired token":       {401, metav1.StatusReasonUnauthorized, "", recovery.ErrDenied, []string{"expired or invalid", "context lab", "--offline --gitops DIR"}},
		"403 in a namespace":      {403, metav1.StatusReasonForbidden, "", recovery.ErrDenied, []string{"forbids", "docs/rbac-read.yaml"}},
		"404 no CRD":              {404, metav1.StatusReasonNotFound, "volsync.backube", recovery.ErrNotFound, []string{"does not know", "VolSync is not installed"}},
		"404 no CNPG":             {404, metav1.StatusReasonNotFound, "postgresql.cnpg.io", recovery.ErrNotFound, []string{"CloudNativePG is not installed"}},
		"404 no barman plugin":    {404, metav1.StatusReasonNotFound, "barmancloud.cnpg.io", recovery.ErrNotFound, []string{"plugin"}},
		"404 of a core kind":      {404, metav1.StatusReasonNotFound, "", recovery.ErrUnreachable, []string{"not a Kubernetes API"}},
		"503 aggregated API down": {503, metav1.StatusReasonServiceUnavailable, "", recovery.ErrUnreachable, []string{"HTTP 503", "--offline --gitops DIR"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := newAPIServer(t, func(w http.ResponseWriter, _ *http.Request) {
				writeStatus(t, w, test.code, test.reason, "refused for the test")
			})
			gvr := pvcs
			if test.group != "" {
				gvr.Group = test.group
			}
			_, _, err := server.client(t).List(t.Context(), gvr, "media")

			require.ErrorIs(t, err, test.want)
			var problem *recovery.Problem
			require.ErrorAs(t, err, &problem)
			require.NotEmpty(t, problem.Next)
			for _, text := range append(test.text, "in namespace media") {
				require.Contains(t, err.Error(), text)
			}
			require.NotContains(t, err.Error(), "canary-token-4711")
		})
	}
}

func TestUnreachableServer(t *testing.T) {
	server := newAPIServer(t, func(http.ResponseWriter, *http.Request) {})
	client := server.client(t)
	server.Close()

	_, _, err := client.List(t.Context(), pvcs, "")

	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.Contains(t, err.Error(), client.Server())
	require.Contains(t, err.Error(), "connection refused")
	require.Contains(t, err.Error(), "--offline --gitops DIR")
}

func TestUntrustedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client, err := New(Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)

	_, err = client.ClusterUID(t.Context())

	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.Contains(t, err.Error(), "x509")
}

func TestCancelledByTheCallerIsNoProblemOfTheServer(t *testing.T) {
	server := newAPIServer(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
	})
	ctx, cancel := contextWithCancel(t)
	time.AfterFunc(50*time.Millisecond, cancel)

	_, _, err := server.client(t).List(ctx, pvcs, "")

	require.ErrorIs(t, err, ctx.Err())
	require.NotErrorIs(t, err, recovery.ErrUnreachable)
}

func TestLoginProgramThatFails(t *testing.T) {
	client := &Client{server: "https://api.example:6443"}
	err := client.explain(t.Context(), "list namespaces", namespacesResource(),
		fmt.Errorf(`Get "https://api.example:6443/api": %w`, fmt.Errorf("getting credentials: exec: executable aws not found")))

	require.ErrorIs(t, err, recovery.ErrDenied)
	require.Contains(t, err.Error(), "log in")
}
