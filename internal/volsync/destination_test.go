package volsync

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

func objects(t *testing.T, kind string) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	for _, item := range readManifests(t, "movers.yaml").items {
		if item.GetKind() == kind {
			found = append(found, &item)
		}
	}
	return found
}

func templateFor(t *testing.T, namespace, claim string) Template {
	t.Helper()
	template, err := TemplateOf(namespace, claim, objects(t, "ReplicationSource"), objects(t, "ReplicationDestination"))
	require.NoError(t, err)
	return template
}

func TestTemplates(t *testing.T) {
	templates := map[string]Template{}
	for _, claim := range []string{"data-pvc", "library", "nothing", "only-destination"} {
		templates[claim] = templateFor(t, "media", claim)
	}
	requireGolden(t, "templates.golden.json", templates)
	_, err := TemplateOf("media", "broken", objects(t, "ReplicationSource"), nil)
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

func TestManifests(t *testing.T) {
	template := templateFor(t, "media", "data-pvc")
	destination := Destination{
		PlanID: "restore-data-pvc-1", Namespace: "media", Name: "restore-data-pvc-1", Template: template, Identity: template.Identity,
		RestoreAsOf: "2026-11-23T02:00:00.123456789Z", Previous: 1, StorageClass: "longhorn", AccessModes: []string{"ReadWriteOnce"}, CapacityBytes: 10 << 30,
	}
	direct := destination
	direct.Into, direct.Exact, direct.Previous = "data-pvc", true, 0
	merged := direct
	merged.Exact = false
	source := Source{PlanID: "b", Namespace: "media", Name: "b-backup", Claim: "data-pvc", Template: template, StorageClass: "longhorn"}
	platform := source
	platform.Template = FromPolicy("media", "new-claim")
	path := source
	path.Template = templateFor(t, "media", "library")
	manifests := map[string]any{}
	for name, make := range map[string]func() (*unstructured.Unstructured, error){
		"destination": destination.Manifest, "direct": direct.Manifest, "merged": merged.Manifest,
		"source": source.Manifest, "source of the platform": platform.Manifest, "source with overrides": path.Manifest,
	} {
		object, err := make()
		require.NoError(t, err, name)
		manifests[name] = object
	}
	requireGolden(t, "manifests.golden.json", manifests)

	destination.CapacityBytes = 0
	_, err := destination.Manifest()
	require.ErrorIs(t, err, recovery.ErrUsage)
}

// TestDestinationsLookForExactlyThatIdentity computes what the fork makes of the fields.
func TestDestinationsLookForExactlyThatIdentity(t *testing.T) {
	cut := strings.Repeat("a", 49) + "-"
	tests := map[string]struct {
		id   recovery.KopiaSource
		want map[string]any
	}{
		"as the platform names it": {recovery.KopiaSource{Username: "data-backup", Hostname: "media", Path: "/data"},
			map[string]any{"username": "data-backup", "hostname": "media"}},
		"another path": {recovery.KopiaSource{Username: "data-backup", Hostname: "media", Path: "/photos"}, map[string]any{
			"sourceIdentity": map[string]any{"sourceName": "data-backup", "sourceNamespace": "media", "sourcePVCName": "any", "sourcePathOverride": "/photos"}}},
		"cut at a dash": {recovery.KopiaSource{Username: cut, Hostname: "media", Path: "/data"}, map[string]any{
			"sourceIdentity": map[string]any{"sourceName": cut + "x", "sourceNamespace": "media", "sourcePVCName": "any"}}},
		"overrides with dots":                  {recovery.KopiaSource{Username: "a.b", Hostname: "nas_1.lan", Path: "/data"}, map[string]any{"username": "a.b", "hostname": "nas_1.lan"}},
		"overrides with dots and another path": {recovery.KopiaSource{Username: "a.b", Hostname: "media", Path: "/photos"}, nil},
		"what no definition admits":            {recovery.KopiaSource{Username: "-a", Hostname: "media", Path: "/data"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := destinationIdentity(test.id)
			if test.want == nil {
				require.ErrorIs(t, err, recovery.ErrUnsupported)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
			if from, ok := got["sourceIdentity"].(map[string]any); ok {
				override, _ := from["sourcePathOverride"].(string)
				require.Equal(t, test.id, Identity(from["sourceNamespace"].(string), from["sourceName"].(string), Overrides{SourcePath: override}))
			}
		})
	}
	_, err := Source{Template: Template{Identity: recovery.KopiaSource{Username: cut, Hostname: "media", Path: "/data"}}}.Manifest()
	require.ErrorIs(t, err, recovery.ErrUnsupported)
}

func TestRunOf(t *testing.T) {
	run, err := RunOf(objects(t, "ReplicationDestination")[0])
	require.NoError(t, err)
	require.Equal(t, &recovery.MoverRun{
		Name: "only-destination-backup", UID: "u-7", PlanID: "p7", Trigger: "p7", Completed: "p7", Result: "Successful", Logs: "No eligible snapshots found",
		EndedAt: time.Date(2026, 11, 23, 2, 0, 41, 0, time.UTC), Image: "volsync-dest-2026", Condition: "WaitingForManual: Waiting for manual trigger",
		Job: "volsync-dst-only-destination-backup",
	}, run)
	busy, err := Synchronizing(objects(t, "ReplicationDestination")[0])
	require.NoError(t, err)
	require.False(t, busy)
	source := objects(t, "ReplicationSource")[0]
	busy, err = Synchronizing(source)
	require.NoError(t, err)
	require.True(t, busy)
	run, err = RunOf(source)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC), run.StartedAt)

	long := source.DeepCopy()
	long.SetName(strings.Repeat("a", 52))
	require.Equal(t, "volsync-src-b6af0329", JobName(long), "CRC-32, as the fork shortens")
	long.SetName(strings.Repeat("a", 51))
	require.Equal(t, "volsync-src-"+long.GetName(), JobName(long))
	require.NoError(t, unstructured.SetNestedField(source.Object, "no map", "status"))
	_, err = RunOf(source)
	require.ErrorIs(t, err, recovery.ErrDamaged)
}

func TestSecrets(t *testing.T) {
	const canary = "canary-s3cr3t"
	data, err := FromFallback("volsync-system/kopia-credentials", map[string][]byte{"KOPIA_PASSWORD": []byte(canary), "OTHER": []byte("x")})
	require.NoError(t, err)
	require.NoError(t, CheckSecret("x", data))
	secret := SecretManifest("media", "p1", "p1", data)
	require.Equal(t, map[string]any{
		"KOPIA_PASSWORD": "Y2FuYXJ5LXMzY3IzdA==", "KOPIA_REPOSITORY": "ZmlsZXN5c3RlbTovLy9yZXBvc2l0b3J5", "KOPIA_FS_PATH": "L3JlcG9zaXRvcnk=",
	}, secret.Object["data"])
	_, err = FromFallback("a/b", nil)
	require.ErrorIs(t, err, recovery.ErrDamaged)
	delete(data, "KOPIA_REPOSITORY")
	require.ErrorContains(t, CheckSecret("a/b", data), "KOPIA_REPOSITORY")
	require.NotContains(t, CheckSecret("a/b", data).Error(), canary)
}
