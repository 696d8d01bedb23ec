package fence_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/fence"
	"github.com/drctl/drctl/internal/kube"
	"github.com/drctl/drctl/internal/recovery"
)

// manyFences answers as an API server where fences of these names stand, in the order in which they were
// written, on databases of the same names.
type manyFences struct {
	names []string
	// admits says that the request for a database is let through: n is how many requests there were.
	admits func(name string, n int) bool

	mu    sync.Mutex
	asked map[string][]time.Time
	total int
	lists int
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "db" + strconv.Itoa(i)
	}
	return names
}

func (f *manyFences) start(t *testing.T) *kube.Client {
	t.Helper()
	f.asked = map[string][]time.Time{}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	return api
}

func (f *manyFences) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		f.list(w, path.Base(r.URL.Path))
		return
	}
	var sent struct {
		Metadata struct{ Name string }
	}
	_ = json.NewDecoder(r.Body).Decode(&sent)
	name := sent.Metadata.Name
	f.mu.Lock()
	f.total++
	n := f.total
	f.asked[name] = append(f.asked[name], time.Now())
	f.mu.Unlock()
	if f.admits != nil && f.admits(name, n) {
		admission(w, r)
		return
	}
	denial(spec(name).PolicyName())(w, r)
}

func (f *manyFences) list(w http.ResponseWriter, resource string) {
	f.mu.Lock()
	f.lists++
	f.mu.Unlock()
	kind := map[string]string{policies.Resource: "ValidatingAdmissionPolicy", bindings.Resource: "ValidatingAdmissionPolicyBinding"}[resource]
	items := []any{}
	for i, name := range f.names {
		items = append(items, map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
			"metadata": map[string]any{"name": spec(name).PolicyName(), "resourceVersion": strconv.Itoa(100 + i)},
		})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind + "List", "items": items})
}

func (f *manyFences) times(name string) []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time(nil), f.asked[name]...)
}

func spec(name string) fence.Spec { return databaseSpec("plan-"+name, name) }

// proveAll has all of them proven at once and gives each one's error.
func proveAll(ctx context.Context, prover *fence.Prover, names ...string) map[string]error {
	var mu sync.Mutex
	var group sync.WaitGroup
	results := map[string]error{}
	for _, name := range names {
		group.Go(func() {
			err := prover.Prove(ctx, spec(name), database("db", name))
			mu.Lock()
			defer mu.Unlock()
			results[name] = err
		})
	}
	group.Wait()
	return results
}

func requireProven(t *testing.T, results map[string]error, names ...string) {
	t.Helper()
	for _, name := range names {
		err, asked := results[name]
		require.True(t, asked, name)
		require.NoError(t, err, name)
	}
}

func TestManyFencesAreProvenTogether(t *testing.T) {
	t.Parallel()
	server := &manyFences{names: numbered(60)}
	prover := fence.NewProver(server.start(t), hold)

	requireProven(t, proveAll(t.Context(), prover, server.names...), server.names...)

	for _, name := range server.names {
		require.GreaterOrEqual(t, len(server.times(name)), 3, name)
	}
	require.Less(t, server.total, 60*5, "each is asked about three times")
	require.LessOrEqual(t, server.lists, 4)
}

// TestWhoComesLaterIsInTheNextProof: what was asked before counts for nobody who was not there.
func TestWhoComesLaterIsInTheNextProof(t *testing.T) {
	t.Parallel()
	server := &manyFences{names: numbered(3)}
	prover := fence.NewProver(server.start(t), hold)
	var firstEnded time.Time
	var group sync.WaitGroup
	group.Go(func() {
		requireProven(t, proveAll(t.Context(), prover, "db0"), "db0")
		firstEnded = time.Now()
	})
	require.Eventually(t, func() bool { return len(server.times("db0")) > 0 }, within, time.Millisecond)

	requireProven(t, proveAll(t.Context(), prover, "db1", "db2"), "db1", "db2")
	group.Wait()

	for _, name := range []string{"db1", "db2"} {
		times := server.times(name)
		// Both ends are seen a moment after they were.
		require.Greater(t, times[0].Sub(firstEnded), -50*time.Millisecond)
		require.GreaterOrEqual(t, time.Since(times[0]), hold-probeSlack)
	}
}

// probeSlack is the pause between two looks of a proof.
const probeSlack = 100 * time.Millisecond

// TestOneThatFailsStopsNobody: its own error says what it met, and the others are proven.
func TestOneThatFailsStopsNobody(t *testing.T) {
	t.Parallel()
	server := &manyFences{names: numbered(5), admits: func(name string, _ int) bool { return name == "db2" || name == "db4" }}
	prover := fence.NewProver(server.start(t), hold)
	ctx, cancel := context.WithTimeout(t.Context(), 20*hold)
	defer cancel()
	begin := time.Now()
	var failing map[string]error
	var group sync.WaitGroup
	group.Go(func() { failing = proveAll(ctx, prover, "db2", "db4") })

	requireProven(t, proveAll(t.Context(), prover, "db0", "db1", "db3"), "db0", "db1", "db3")

	require.Less(t, time.Since(begin), 15*hold)
	group.Wait()
	for name, err := range failing {
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.Contains(t, err.Error(), "0 of ", name)
		require.Contains(t, err.Error(), spec(name).PolicyName())
		require.Contains(t, err.Error(), "was admitted")
	}
	requireProven(t, proveAll(t.Context(), prover, "db0"), "db0")
}

// TestTheFenceWrittenLastIsAlwaysAsked: one of two API servers has not heard of it, and gets every second
// request.
func TestTheFenceWrittenLastIsAlwaysAsked(t *testing.T) {
	t.Parallel()
	var caughtUp, last time.Time
	var mu sync.Mutex
	server := &manyFences{names: append(numbered(20), "last")}
	server.admits = func(name string, n int) bool {
		mu.Lock()
		defer mu.Unlock()
		if name != "last" || n%2 == 0 || (!caughtUp.IsZero() && time.Now().After(caughtUp)) {
			return false
		}
		last = time.Now()
		return true
	}
	prover := fence.NewProver(server.start(t), hold)
	mu.Lock()
	caughtUp = time.Now().Add(2 * hold)
	mu.Unlock()

	requireProven(t, proveAll(t.Context(), prover, server.names...), server.names...)

	require.GreaterOrEqual(t, time.Since(last), hold)
	require.Greater(t, len(server.times("last")), len(server.times("db0")))
}

// TestWhoGivesUpStopsNobody: nor does the first, whose goroutine might have led the proof.
func TestWhoGivesUpStopsNobody(t *testing.T) {
	t.Parallel()
	server := &manyFences{names: numbered(3)}
	prover := fence.NewProver(server.start(t), 2*hold)
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var gaveUp map[string]error
	var group sync.WaitGroup
	group.Go(func() { gaveUp = proveAll(ctx, prover, "db2") })
	require.Eventually(t, func() bool { return len(server.times("db2")) > 0 }, within, time.Millisecond)
	time.AfterFunc(hold/2, func() { cancel(cause) })

	requireProven(t, proveAll(t.Context(), prover, "db0", "db1"), "db0", "db1")

	group.Wait()
	require.ErrorIs(t, gaveUp["db2"], context.Canceled)
	require.Contains(t, gaveUp["db2"].Error(), "but not for long enough")
}

// TestAfterAnOutageNobodyWaitsForOneAfterTheOther: all of them failed for long, and none is at fault.
func TestAfterAnOutageNobodyWaitsForOneAfterTheOther(t *testing.T) {
	t.Parallel()
	var over time.Time
	server := &manyFences{names: numbered(16)}
	server.admits = func(string, int) bool { return time.Now().Before(over) }
	api := server.start(t)
	over = time.Now().Add(12 * hold)
	prover := fence.NewProver(api, hold)

	requireProven(t, proveAll(t.Context(), prover, server.names...), server.names...)

	took := time.Since(over)
	t.Logf("proven %s after the outage", took.Round(10*time.Millisecond))
	require.Less(t, took, 12*hold)
}

// TestAnUnknownOrderProvesNothing: the rights to write a fence are those to list it.
func TestAnUnknownOrderProvesNothing(t *testing.T) {
	t.Parallel()
	var creates atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer(http.StatusForbidden, "Forbidden", fmt.Sprintf("%s is forbidden: no", strings.TrimPrefix(r.URL.Path, "/")))(w, r)
			return
		}
		creates.Add(1)
		denial(spec("db0").PolicyName())(w, r)
	}))
	t.Cleanup(server.Close)
	api, err := kube.New(kube.Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	prover := fence.NewProver(api, hold)
	var group sync.WaitGroup
	group.Go(func() { requireProven(t, proveAll(t.Context(), prover, "db0"), "db0") })
	require.Eventually(t, func() bool { return creates.Load() > 0 }, within, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 4*hold)
	defer cancel()

	results := proveAll(ctx, prover, "db1", "db2")

	group.Wait()
	for name, err := range results {
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.ErrorIs(t, err, recovery.ErrDenied, name)
	}
}
