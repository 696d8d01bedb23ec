package storage

import (
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/drctl/drctl/internal/recovery"
)

func findsGenerated(c *cluster) {
	const meta = `metadata: {namespace: generated, name: %s, labels: {app.kubernetes.io/managed-by: %s, volsync.backup/pvc: data, generate.kyverno.io/trigger-uid: u1}}`
	fill := func(text, name, manager string) string {
		return strings.Replace(strings.Replace(text, "%s", name, 1), "%s", manager, 1)
	}
	secret := c.create(core("secrets"), fill(`{apiVersion: v1, kind: Secret, `+meta+`}`, "volsync-data", "kyverno"))
	c.create(core("secrets"), fill(`{apiVersion: v1, kind: Secret, `+meta+`}`, "mine", "somebody"))
	destination := c.create(volsyncKind("replicationdestinations"), fill(`{apiVersion: volsync.backube/v1alpha1, kind: ReplicationDestination, `+meta+`, spec: {kopia: {}}}`, "data-backup", "kyverno"))

	found, err := c.Generated(c.Context(), "generated", "data")
	require.NoError(c, err)
	require.Equal(c, []recovery.GeneratedObject{
		{Kind: "Secret", Name: "volsync-data", UID: string(secret.GetUID()), ClaimUID: "u1"},
		{Kind: "ReplicationDestination", Name: "data-backup", UID: string(destination.GetUID()), ClaimUID: "u1"},
	}, found)
	for _, claim := range []string{"other", strings.Repeat("a", 64)} {
		found, err = c.Generated(c.Context(), "generated", claim)
		require.NoError(c, err)
		require.Empty(c, found)
	}
}

func readsClasses(c *cluster) {
	const class = `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: %s, annotations: {storageclass.kubernetes.io/is-default-class: "%s"}}, provisioner: %s, volumeBindingMode: %s}`
	kind := gvr{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	for _, fields := range [][]string{
		{"longhorn", "true", "driver.longhorn.io", "Immediate"}, {"late", "false", "driver.longhorn.io", "WaitForFirstConsumer"}, {"other", "false", "other.io", "Immediate"},
	} {
		text := class
		for _, field := range fields {
			text = strings.Replace(text, "%s", field, 1)
		}
		c.create(kind, text)
	}
	classes := gvr{Group: volumeSnapshots().Group, Version: "v1", Resource: "volumesnapshotclasses"}
	c.create(classes, `{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotClass, metadata: {name: a-first}, driver: driver.longhorn.io, deletionPolicy: Delete}`)
	c.create(classes, `{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshotClass, metadata: {name: longhorn-snapclass, annotations: {snapshot.storage.kubernetes.io/is-default-class: "true"}}, driver: driver.longhorn.io, deletionPolicy: Delete}`)

	byName, standard, err := c.Classes(c.Context())
	require.NoError(c, err)
	require.Equal(c, "longhorn", standard)
	require.Equal(c, map[string]recovery.StorageClass{
		"longhorn": {Name: "longhorn", Provisioner: "driver.longhorn.io", SnapshotClass: "longhorn-snapclass"},
		"late":     {Name: "late", Provisioner: "driver.longhorn.io", WaitsForConsumer: true, SnapshotClass: "longhorn-snapclass"},
		"other":    {Name: "other", Provisioner: "other.io"},
	}, byName)

	missing, err := c.Requirements(c.Context())
	require.NoError(c, err)
	require.Empty(c, missing)
	c.lacksKopia()
}

// lacksKopia: upstream's VolSync has the definition without the block.
func (c *cluster) lacksKopia() {
	problem, err := c.kopiaKind(c.Context(), "nothing.volsync.backube")
	require.NoError(c, err)
	require.Contains(c, problem, "VolSync is not installed")
	definitions := gvr{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	c.create(definitions, `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: upstreams.volsync.backube}, spec: {group: volsync.backube,
		scope: Namespaced, names: {plural: upstreams, singular: upstream, kind: Upstream, listKind: UpstreamList}, versions: [{name: v1alpha1, served: true, storage: true,
		schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {restic: {type: object}}}}}}}]}}`)
	problem, err = c.kopiaKind(c.Context(), "upstreams.volsync.backube")
	require.NoError(c, err)
	require.Contains(c, problem, "no Kopia mover")
}

func takesSnapshots(c *cluster) {
	require.NoError(c, c.SnapshotVolume(c.Context(), "snapshots", "data", "safety", "longhorn-snapclass", "p1"))
	require.NoError(c, c.SnapshotVolume(c.Context(), "snapshots", "data", "safety", "longhorn-snapclass", "p1"), "once more")
	require.ErrorIs(c, c.SnapshotVolume(c.Context(), "snapshots", "data", "safety", "", "p2"), recovery.ErrExists)
	var seen *recovery.VolumeSnapshot
	look := func() *recovery.VolumeSnapshot {
		snapshot, err := c.VolumeSnapshot(c.Context(), "snapshots", "safety")
		require.NoError(c, err)
		return snapshot
	}
	require.Eventually(c, func() bool { seen = look(); return seen != nil }, within, time.Millisecond)
	require.Equal(c, "p1", seen.PlanID)
	require.False(c, seen.Ready)
	live := c.get(volumeSnapshots(), "snapshots", "safety")
	require.Equal(c, map[string]any{"source": map[string]any{"persistentVolumeClaimName": "data"}, "volumeSnapshotClassName": "longhorn-snapclass"}, live.Object["spec"])
	require.ErrorIs(c, c.RemoveVolumeSnapshot(c.Context(), "snapshots", "safety", "p2"), recovery.ErrConflict)
	require.NoError(c, c.RemoveVolumeSnapshot(c.Context(), "snapshots", "safety", "p1"))
	require.NoError(c, c.RemoveVolumeSnapshot(c.Context(), "snapshots", "safety", "p1"), "one that is gone")
	require.Eventually(c, func() bool { return look() == nil }, within, time.Millisecond)
}

func tellsEvents(c *cluster) {
	text, err := c.Events(c.Context(), "events", "PersistentVolumeClaim", "data")
	require.NoError(c, err)
	require.Empty(c, text)
	c.create(core("events"), `{apiVersion: v1, kind: Event, metadata: {namespace: events, name: e1}, type: Warning, reason: ProvisioningFailed, message: "no\nsuch  class",
		lastTimestamp: "`+metav1.Now().UTC().Format(time.RFC3339)+`", involvedObject: {kind: PersistentVolumeClaim, namespace: events, name: data}}`)
	before := c.kube.Requests()
	for range 100 {
		text, err = c.Events(c.Context(), "events", "PersistentVolumeClaim", "data")
		require.NoError(c, err)
		require.Empty(c, text)
	}
	require.Equal(c, before, c.kube.Requests(), "who waits does not ask each time")
	clear(c.events)
	text, err = c.Events(c.Context(), "events", "PersistentVolumeClaim", "data")
	require.NoError(c, err)
	require.Equal(c, "ProvisioningFailed: no such class", text)
}
