package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// seenWithin bounds what a watch needs on a busy machine.
const seenWithin = 30 * time.Second

// TestWatchOnTheRealAPIServer has one control plane for all that watches do, the last of which takes it
// away from them.
func TestWatchOnTheRealAPIServer(t *testing.T) {
	stack := lab.ForTest(t)
	k, err := stack.ControlPlane(t.Context(), lab.ControlPlaneOptions{Users: []string{"nobody"}})
	require.NoError(t, err)
	admin, err := New(Options{REST: k.RESTConfig()})
	require.NoError(t, err)
	c := &realCluster{Kubernetes: k, admin: admin}
	require.Eventually(t, func() bool {
		_, err := admin.Get(t.Context(), namespacesResource(), "", "default")
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	config, err := k.RESTConfigFor("nobody")
	require.NoError(t, err)
	c.nobody, err = New(Options{REST: config})
	require.NoError(t, err)

	t.Run("follows", func(t *testing.T) { watchFollows(t, c) })
	t.Run("many look for the price of one", func(t *testing.T) { manyLook(t, c) })
	t.Run("refusals", func(t *testing.T) { watchRefused(t, c) })
	t.Run("warnings", func(t *testing.T) { warnings(t, c) })
	t.Run("cut", func(t *testing.T) { watchCut(t, stack, c) })
}

func watchFollows(t *testing.T, c *realCluster) {
	c.mustCreate(t, "before")
	watched, err := c.admin.Watch(t.Context(), configMapsResource(), "default", "")
	require.NoError(t, err)
	require.True(t, watched.Live())
	require.Equal(t, "before", watched.Get("default", "before").GetName())
	require.Empty(t, watched.Get("default", "before").GetManagedFields())

	made := c.mustCreate(t, "after")
	require.Eventually(t, func() bool { return watched.Get("default", "after") != nil }, seenWithin, time.Millisecond)
	_, err = c.admin.PatchMerge(t.Context(), configMapsResource(), "default", "after", []byte(`{"data":{"key":"other"}}`), WriteOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		value, _, _ := unstructured.NestedString(watched.Get("default", "after").Object, "data", "key")
		return value == "other"
	}, seenWithin, time.Millisecond)
	require.Empty(t, watched.Get("default", "after").GetManagedFields())
	require.WithinDuration(t, time.Now(), watched.SyncedAt(), seenWithin)
	require.NoError(t, c.admin.Delete(t.Context(), configMapsResource(), "default", "after", Preconditions{UID: string(made.GetUID())}, metav1.DeletePropagationBackground))
	require.Eventually(t, func() bool { return watched.Get("default", "after") == nil }, seenWithin, time.Millisecond)
	require.Nil(t, watched.Get("elsewhere", "before"))
	require.Empty(t, watched.List("elsewhere"))
}

func manyLook(t *testing.T, c *realCluster) {
	client, err := New(Options{REST: c.RESTConfig()})
	require.NoError(t, err)
	looks := NewWatches(t.Context(), client, nil)
	var noticed atomic.Int64
	looks.Notice(configMapsResource(), func(object *unstructured.Unstructured) {
		if object.GetName() == "noticed" {
			noticed.Add(1)
		}
	})
	for range 500 {
		object, err := looks.Get(t.Context(), configMapsResource(), "default", "before")
		require.NoError(t, err)
		require.NotNil(t, object)
		absent, err := looks.Get(t.Context(), configMapsResource(), "default", "absent")
		require.NoError(t, err)
		require.Nil(t, absent)
		objects, err := looks.List(t.Context(), configMapsResource(), "default")
		require.NoError(t, err)
		require.NotEmpty(t, objects)
	}
	require.LessOrEqual(t, client.Requests(), int64(2), "one LIST at most, and one WATCH")
	c.mustCreate(t, "noticed")
	require.Eventually(t, func() bool { return noticed.Load() == 1 }, seenWithin, time.Millisecond)

	system := configMapNamed("system")
	system.SetNamespace(metav1.NamespaceSystem)
	_, err = client.Create(t.Context(), configMapsResource(), system, WriteOptions{})
	require.NoError(t, err)
	one := NewWatches(t.Context(), client, []string{"default", "default"})
	before := client.Requests()
	object, err := one.Get(t.Context(), configMapsResource(), metav1.NamespaceSystem, "system")
	require.NoError(t, err)
	require.NotNil(t, object, "a namespace that is not watched is asked for")
	objects, err := one.List(t.Context(), configMapsResource(), "")
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetNamespace() == "kube-system" }))
	require.LessOrEqual(t, client.Requests()-before, int64(4))
}

func watchRefused(t *testing.T, c *realCluster) {
	_, err := c.nobody.Watch(t.Context(), configMapsResource(), "default", "")
	require.ErrorIs(t, err, recovery.ErrDenied)
	require.ErrorContains(t, err, "watch configmaps in namespace default")
	_, err = c.admin.Watch(t.Context(), unserved, "", "")
	require.ErrorIs(t, err, recovery.ErrNotFound)

	looks := NewWatches(t.Context(), c.admin, nil)
	_, err = looks.List(t.Context(), unserved, "")
	require.ErrorIs(t, err, recovery.ErrNotFound)
	before := c.admin.Requests()
	for range 100 {
		_, err = looks.Get(t.Context(), unserved, "default", "x")
		require.ErrorIs(t, err, recovery.ErrNotFound)
	}
	require.Equal(t, before, c.admin.Requests(), "what is not there is not asked for each time")
}

func warnings(t *testing.T, c *realCluster) {
	for i, reason := range []string{"ProvisioningFailed", "ProvisioningFailed", "Normal", "Newest"} {
		kind := "Warning"
		if reason == "Normal" {
			kind = "Normal"
		}
		event := object("Event", "default", fmt.Sprintf("claim.%d", i), map[string]any{
			"involvedObject": map[string]any{"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data"},
			"reason":         reason, "message": "no such class", "type": kind,
			"lastTimestamp": time.Date(2026, 11, 24, 10, 0, i, 0, time.UTC).Format(time.RFC3339),
		})
		_, err := c.admin.Create(t.Context(), pvcs.GroupVersion().WithResource("events"), event, WriteOptions{})
		require.NoError(t, err)
	}
	texts, err := c.admin.Warnings(t.Context(), "default", "PersistentVolumeClaim", "data")
	require.NoError(t, err)
	require.Equal(t, []string{"Newest: no such class", "ProvisioningFailed: no such class"}, texts)
	texts, err = c.admin.Warnings(t.Context(), "default", "PersistentVolumeClaim", "other")
	require.NoError(t, err)
	require.Empty(t, texts)
}

// watchCut: the connection breaks, things change meanwhile, and the watch catches up.
func watchCut(t *testing.T, stack *lab.Stack, c *realCluster) {
	address, err := url.Parse(c.URL)
	require.NoError(t, err)
	proxy, err := stack.FaultProxy(address.Host)
	require.NoError(t, err)
	config := rest.CopyConfig(c.RESTConfig())
	config.Host = "https://" + proxy.Address
	client, err := New(Options{REST: config})
	require.NoError(t, err)
	looks := NewWatches(t.Context(), client, nil)
	get := func(name string) (*unstructured.Unstructured, error) {
		return looks.Get(t.Context(), configMapsResource(), "default", name)
	}
	c.mustCreate(t, "doomed")
	found, err := get("doomed")
	require.NoError(t, err)
	require.NotNil(t, found)

	proxy.Cut()
	require.NoError(t, c.admin.Delete(t.Context(), configMapsResource(), "default", "doomed", Preconditions{}, metav1.DeletePropagationBackground))
	c.mustCreate(t, "meanwhile")
	require.Eventually(t, func() bool {
		_, err := get("doomed")
		return err != nil // the truth is not known, and that is said
	}, seenWithin, 10*time.Millisecond)
	_, err = get("doomed")
	require.ErrorIs(t, err, recovery.ErrUnreachable)

	require.NoError(t, proxy.Heal(t.Context()))
	require.Eventually(t, func() bool {
		object, err := get("meanwhile")
		return err == nil && object != nil
	}, seenWithin, 10*time.Millisecond)
	object, err := get("doomed")
	require.NoError(t, err)
	require.Nil(t, object, "a deletion that nobody saw")
}

// TestWatchBeginsAnewWhenItsPlaceIsGone: the server no longer has that version (410).
func TestWatchBeginsAnewWhenItsPlaceIsGone(t *testing.T) {
	var lists, watches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case query.Get("sendInitialEvents") != "":
			writeStatus(t, w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "an older server")
		case query.Get("watch") == "":
			writePage(t, w, 0, int(lists.Add(1)), "")
		case watches.Add(1) == 1:
			require.NoError(t, json.NewEncoder(w).Encode(map[string]any{"type": "ERROR", "object": metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
			}}))
		default:
			w.WriteHeader(http.StatusOK)
			require.NoError(t, http.NewResponseController(w).Flush())
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	ctx, cancel := contextWithCancel(t)
	defer cancel() // before the server waits for its connections
	client, err := New(Options{REST: &rest.Config{Host: server.URL}})
	require.NoError(t, err)
	watched, err := client.Watch(ctx, pvcs, "ns", "")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(watched.List("ns")) == 2 }, seenWithin, time.Millisecond, "the second listing has two")
	require.Eventually(t, watched.Live, seenWithin, time.Millisecond)
}
