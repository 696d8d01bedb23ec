package fence_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

const hold = 500 * time.Millisecond

func answer(code int, reason metav1.StatusReason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		})
	}
}

// denial is in the API server's own words, see TestFence.
func denial(policy string) http.HandlerFunc {
	return answer(422, metav1.StatusReasonInvalid, fmt.Sprintf(
		"databases.test.drctl.dev \"x\" is forbidden: ValidatingAdmissionPolicy '%[1]s' with binding '%[1]s' denied request: held back", policy))
}

func admission(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(database("db", "x").Object)
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// TestOnlyOurDenialsCount: one other answer in the middle, and the time begins anew.
func TestOnlyOurDenialsCount(t *testing.T) {
	spec := databaseSpec("plan-unit", "x")
	ours := denial(spec.PolicyName())
	tests := map[string]http.HandlerFunc{
		"admitted":        admission,
		"already exists":  answer(409, metav1.StatusReasonAlreadyExists, "there"),
		"not available":   answer(503, metav1.StatusReasonServiceUnavailable, "starting"),
		"another fence":   denial("drctl-fence-plan-other"),
		"another webhook": answer(403, metav1.StatusReasonForbidden, `admission webhook "v.kb.io" denied the request: no`),
		"no right":        answer(403, metav1.StatusReasonForbidden, `databases is forbidden: User "x" cannot create resource "databases"`),
		"expired token":   answer(401, metav1.StatusReasonUnauthorized, "Unauthorized"),
		"hung up":         hangUp,
	}
	for name, interruption := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			var interrupted time.Time
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) == 3 {
					interrupted = time.Now()
					interruption(w, r)
					return
				}
				ours(w, r)
			}))
			t.Cleanup(server.Close)
			api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
			require.NoError(t, err)

			require.NoError(t, fence.Prove(t.Context(), api, spec, marked(database("db", "x"), spec.PlanID), hold))

			require.GreaterOrEqual(t, time.Since(interrupted), hold)
		})
	}
}

// TestEachProbeIsOnItsOwnConnection also sees that all of them are closed and none carries the mark.
func TestEachProbeIsOnItsOwnConnection(t *testing.T) {
	spec := databaseSpec("plan-unit", "x")
	var requests, opened, closed atomic.Int64
	var carried atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		var sent metav1.PartialObjectMetadata
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || sent.Annotations[fence.MarkKey] != "" || sent.ResourceVersion != "" || r.URL.Query().Get("dryRun") != "All" {
			carried.Store(true)
		}
		denial(spec.PolicyName())(w, r)
	}))
	server.Config.ConnState = countConnections(&opened, &closed)
	server.Start()
	t.Cleanup(server.Close)
	api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	sample := marked(database("db", "x"), spec.PlanID)
	sample.SetResourceVersion("42")

	require.NoError(t, fence.Prove(t.Context(), api, spec, sample, hold))

	require.Equal(t, requests.Load(), opened.Load())
	require.Eventually(t, func() bool { return closed.Load() == opened.Load() }, within, 10*time.Millisecond)
	require.False(t, carried.Load())
	require.Equal(t, "42", sample.GetResourceVersion(), "the sample is not changed")
	require.Equal(t, requests.Load(), api.Requests(), "probes are counted")
}

func countConnections(opened, closed *atomic.Int64) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		default:
		}
	}
}

// TestSlowDenialsAreNotRunning: two denials at both ends of the time are no proof.
func TestSlowDenialsAreNotRunning(t *testing.T) {
	spec := databaseSpec("plan-unit", "x")
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		select {
		case <-time.After(400 * time.Millisecond):
		case <-r.Context().Done():
		}
		denial(spec.PolicyName())(w, r)
	}))
	t.Cleanup(server.Close)
	api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)

	require.NoError(t, fence.Prove(t.Context(), api, spec, database("db", "x"), 1500*time.Millisecond))

	require.GreaterOrEqual(t, requests.Load(), int64(4))
}

func TestProofEndsWithItsContext(t *testing.T) {
	spec := databaseSpec("plan-unit", "x")
	server := httptest.NewServer(answer(503, metav1.StatusReasonServiceUnavailable, "starting"))
	t.Cleanup(server.Close)
	api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()

	err = fence.Prove(ctx, api, spec, database("db", "x"), hold)

	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, recovery.ErrUnreachable)
	require.Contains(t, err.Error(), "nothing was deleted")
}
