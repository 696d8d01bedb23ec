package cloudnativepg

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// recovered is the live object after a recovery of the Cluster small, and gitNow what Git says then.
func recovered(t *testing.T, text string) (live, gitNow *unstructured.Unstructured) {
	t.Helper()
	manifest := parse(t, text)
	options := chosen()
	live, _, err := RenderRecovery(manifest, options)
	require.NoError(t, err)
	live.SetUID("6f0c2f0e-0000-4000-8000-000000000009")
	require.NoError(t, setWriteServer(manifest, mustDecode(t, manifest), options.ArchiveServer))
	return live, manifest
}

func TestHandBackPatch(t *testing.T) {
	const replica = "replica: {enabled: false, source: a}\n  externalClusters: [{name: a, connectionParameters: {host: db}}]\n  storage"
	for _, test := range []struct {
		name   string
		text   string
		change func(live, gitNow *unstructured.Unstructured)
		want   string
	}{
		{
			"Git has no external clusters", small, nil,
			`{"op":"add","path":"/spec/bootstrap","value":{"initdb":{"database":"some","owner":"some"}}} {"op":"remove","path":"/spec/externalClusters"}`,
		},
		{
			"Git has its own", strings.Replace(small, "storage", replica, 1), nil,
			`{"op":"add","path":"/spec/bootstrap","value":{"initdb":{"database":"some","owner":"some"}}} {"op":"add","path":"/spec/externalClusters","value":[{"connectionParameters":{"host":"db"},"name":"a"}]}`,
		},
		{
			"both have the same", strings.Replace(small, "storage", replica, 1),
			func(live, gitNow *unstructured.Unstructured) {
				spec(live)["externalClusters"] = spec(gitNow)["externalClusters"]
			},
			`{"op":"add","path":"/spec/bootstrap","value":{"initdb":{"database":"some","owner":"some"}}}`,
		},
		{
			"neither has any, and Git has no bootstrap", strings.Replace(small, "bootstrap: {initdb: {database: some, owner: some}}", "", 1),
			func(live, _ *unstructured.Unstructured) { delete(spec(live), "externalClusters") },
			`{"op":"remove","path":"/spec/bootstrap"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			live, gitNow := recovered(t, test.text)
			if test.change != nil {
				test.change(live, gitNow)
			}
			patch, needed, err := HandBackPatch(live, gitNow)
			require.NoError(t, err)
			require.True(t, needed)
			var operations []json.RawMessage
			require.NoError(t, json.Unmarshal(patch, &operations))
			require.JSONEq(t, `{"op":"test","path":"/metadata/uid","value":"6f0c2f0e-0000-4000-8000-000000000009"}`, string(operations[0]))
			require.Contains(t, string(operations[1]), `"op":"test","path":"/spec/bootstrap/recovery"`)
			rest := make([]string, 0, len(operations))
			for _, operation := range operations[2:] {
				rest = append(rest, string(operation))
			}
			require.Equal(t, test.want, strings.Join(rest, " "))
		})
	}
}

func TestHandBackIsNotNeededOnceTheRecoveryIsGone(t *testing.T) {
	live, gitNow := recovered(t, small)
	spec(live)["bootstrap"] = spec(gitNow)["bootstrap"]
	patch, needed, err := HandBackPatch(live, gitNow)
	require.NoError(t, err)
	require.False(t, needed)
	require.Nil(t, patch)
}

func TestHandBackPatchRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(live, gitNow *unstructured.Unstructured)
		why    string
	}{
		{"another server", func(_, gitNow *unstructured.Unstructured) {
			require.NoError(t, unstructured.SetNestedField(gitNow.Object, "immich-database-v1", "spec", "backup", "barmanObjectStore", "serverName"))
		}, "it writes backups to server immich-database-v2 in s3://backups/some at AWS, Git's manifest says server immich-database-v1"},
		{"another bucket", func(_, gitNow *unstructured.Unstructured) {
			require.NoError(t, unstructured.SetNestedField(gitNow.Object, "s3://else/where", "spec", "backup", "barmanObjectStore", "destinationPath"))
		}, "s3://else/where"},
		{"another shape", func(_, gitNow *unstructured.Unstructured) {
			delete(spec(gitNow), "backup")
			spec(gitNow)["plugins"] = []any{map[string]any{"name": pluginName, "isWALArchiver": true, "parameters": map[string]any{objectNameParameter: "garage", serverNameParameter: "immich-database-v2"}}}
		}, "in ObjectStore garage"},
		{"Git in recovery", func(live, gitNow *unstructured.Unstructured) { spec(gitNow)["bootstrap"] = spec(live)["bootstrap"] }, "rolls the database back"},
		{"another name", func(_, gitNow *unstructured.Unstructured) { gitNow.SetName("other") }, "databases/other"},
		{"another namespace", func(_, gitNow *unstructured.Unstructured) { gitNow.SetNamespace("other") }, "other/some"},
		{"not live", func(live, _ *unstructured.Unstructured) { live.SetUID("") }, "no UID"},
		{"Git without backups", func(_, gitNow *unstructured.Unstructured) { delete(spec(gitNow), "backup") }, "it has no backups"},
	} {
		t.Run(test.name, func(t *testing.T) {
			live, gitNow := recovered(t, small)
			test.change(live, gitNow)
			patch, needed, err := HandBackPatch(live, gitNow)
			require.ErrorIs(t, err, recovery.ErrUnsupported)
			require.ErrorContains(t, err, test.why)
			require.False(t, needed)
			require.Nil(t, patch)
		})
	}
}

func TestHandBackPatchTakesAKustomizedNamespace(t *testing.T) {
	live, gitNow := recovered(t, small)
	gitNow.SetNamespace("")
	_, needed, err := HandBackPatch(live, gitNow)
	require.NoError(t, err)
	require.True(t, needed)
}

func TestDropManagerPatch(t *testing.T) {
	entry := func(manager, subresource, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	live := parse(t, small)
	live.SetResourceVersion("42")
	live.SetManagedFields([]metav1.ManagedFieldsEntry{
		entry("drctl", "", `{"f:metadata":{}}`), entry("argocd-controller", "", `{"f:spec":{}}`), entry("drctl", "", `{"f:spec":{}}`), entry("manager", "status", `{"f:status":{}}`),
	})
	patch, needed, err := DropManagerPatch(live, "drctl")
	require.NoError(t, err)
	require.True(t, needed)
	require.JSONEq(t, `[
		{"op":"test","path":"/metadata/resourceVersion","value":"42"},
		{"op":"test","path":"/metadata/managedFields/2/manager","value":"drctl"},{"op":"remove","path":"/metadata/managedFields/2"},
		{"op":"test","path":"/metadata/managedFields/0/manager","value":"drctl"},{"op":"remove","path":"/metadata/managedFields/0"}]`, string(patch))

	_, needed, err = DropManagerPatch(live, "nobody")
	require.NoError(t, err)
	require.False(t, needed)

	live.SetManagedFields([]metav1.ManagedFieldsEntry{entry("drctl", "", `{"f:spec":{}}`), entry("labeller", "", `{"f:metadata":{}}`), entry("manager", "status", `{"f:spec":{}}`)})
	_, _, err = DropManagerPatch(live, "drctl")
	require.ErrorIs(t, err, recovery.ErrUnsupported, "then nobody would own spec")
}
