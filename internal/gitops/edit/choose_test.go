package edit

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestFindAndSetInsertsTheDefault(t *testing.T) {
	root := tree(t, "-- db/kustomization.yaml --\nresources: [cluster.yaml]\npatches: [{path: a.yaml}]\n-- db/a.yaml --\n"+
		"apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database, namespace: cloudnative-pg}\nspec:\n  instances: 2\n"+
		"-- db/cluster.yaml --\n"+strings.Replace(manifest, "      serverName: immich-database-v1\n", "", 1))
	edits, err := FindAndSet(t.Context(), root, immich(), "immich-database", to, nil)
	require.NoError(t, err)
	require.Contains(t, changed(t, edits), "db/cluster.yaml:11: serverName: immich-database-v2")
}

func TestFindAndSetRefuses(t *testing.T) {
	recovered := strings.Replace(manifest, "{initdb: {database: immich}}", "{recovery: {source: x}}", 1)
	tests := map[string]struct{ archive, why string }{
		"live recovery":       {"-- c.yaml --\n" + recovered, "bootstrap.recovery"},
		"another server":      {"-- c.yaml --\n" + strings.ReplaceAll(manifest, from, "immich-database-v7"), "makes it write to immich-database-v7"},
		"no backup":           {"-- c.yaml --\napiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database, namespace: cloudnative-pg}\nspec: {instances: 1}\n", "without a backup section"},
		"an alias":            {"-- c.yaml --\n" + strings.Replace(manifest, "serverName: immich-database-v1\n", "serverName: *s\n", 1) + "x: &s immich-database-v1\n", ""},
		"a quoted patch":      {"-- kustomization.yaml --\nresources: [c.yaml]\npatches: [{target: {kind: Cluster}, patch: \"[{op: add, path: /spec/backup/barmanObjectStore/serverName, value: immich-database-v1}]\"}]\n-- c.yaml --\n" + strings.ReplaceAll(manifest, from, "x"), "neither"},
		"a name with prefix":  {"-- kustomization.yaml --\nnamePrefix: immich-\nresources: [c.yaml]\n-- c.yaml --\n" + strings.Replace(manifest, "name: immich-database,", "name: database,", 1), "no file was found in which the server is set"},
		"another uses it too": {"-- base/kustomization.yaml --\nresources: [c.yaml]\n-- base/c.yaml --\n" + strings.Replace(manifest, ", namespace: cloudnative-pg", "", 1) + "-- a/kustomization.yaml --\nnamespace: cloudnative-pg\nresources: [../base]\n-- b/kustomization.yaml --\nnamespace: b\nresources: [../base]\n", "Cluster b/immich-database would change too"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			edits, err := FindAndSet(t.Context(), tree(t, test.archive), immich(), from, to, nil)
			require.Empty(t, edits)
			if test.why == "" {
				require.Error(t, err)
				return
			}
			var refusal *Unrecognised
			require.ErrorAs(t, err, &refusal)
			require.Contains(t, refusal.Why, test.why)
			require.Contains(t, refusal.ManualPatch, "+++ b/")
		})
	}
}

func TestFindAndSetFindsNone(t *testing.T) {
	_, err := FindAndSet(t.Context(), tree(t, "-- a.yaml --\nkind: x\n"), immich(), from, to, nil)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	_, err = FindAndSet(t.Context(), t.TempDir()+"/missing", immich(), from, to, nil)
	require.ErrorIs(t, err, recovery.ErrNotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = FindAndSet(ctx, t.TempDir(), immich(), from, to, nil)
	require.ErrorIs(t, err, context.Canceled)
	two := "-- a/c.yaml --\n" + manifest + "-- b/c.yaml --\n" + manifest
	_, err = FindAndSet(t.Context(), tree(t, two), immich(), from, to, nil)
	require.ErrorContains(t, err, "it comes out of a and b")
}

// TestFindAndSetWarnsOfWhatDoesNotBuild: an overlay that can't be built may change the server unseen.
func TestFindAndSetWarnsOfWhatDoesNotBuild(t *testing.T) {
	root := tree(t, "-- base/kustomization.yaml --\nresources: [c.yaml]\n-- base/c.yaml --\n"+manifest+
		"-- prod/kustomization.yaml --\nresources: [../base]\nunknown: 1\n-- far/kustomization.yaml --\nresources: [https://example.invalid/x]\n")
	edits, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
	require.NoError(t, err)
	require.Len(t, edits, 1)
	require.Len(t, edits[0].Warnings, 1)
	require.Contains(t, edits[0].Warnings[0], "prod")
}

func TestFindAndSetAsksTheBuild(t *testing.T) {
	root := tree(t, "-- c.yaml --\n"+manifest)
	_, err := FindAndSet(t.Context(), root, immich(), from, to, func(context.Context, string) (string, error) { return from, nil })
	require.ErrorContains(t, err, "another build of the tree would make it write to immich-database-v1")
	failed := errors.New("no kubectl")
	_, err = FindAndSet(t.Context(), root, immich(), from, to, func(context.Context, string) (string, error) { return "", failed })
	require.ErrorIs(t, err, failed)
}

func TestWriteFindsAChangedFile(t *testing.T) {
	root := tree(t, "-- a.yaml --\na\n-- b.yaml --\nchanged\n")
	edits := []Edited{{Path: "a.yaml", Before: []byte("a\n"), After: []byte("x\n")}, {Path: "b.yaml", Before: []byte("b\n"), After: []byte("y\n")}}
	var problem *recovery.Problem
	require.ErrorAs(t, Write(root, edits), &problem)
	content, err := os.ReadFile(filepath.Join(root, "a.yaml"))
	require.NoError(t, err)
	require.Equal(t, "a\n", string(content))
	require.Error(t, Write(root, []Edited{{Path: "missing.yaml"}}))
}

// TestWriteKilledInBetween: with the second of two files not written, the value is the one still to be set.
func TestWriteKilledInBetween(t *testing.T) {
	root := tree(t, trees()["a patch with the same server as the base"].archive)
	edits, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
	require.NoError(t, err)
	require.Len(t, edits, 2)
	require.True(t, edits[0].commentsOnly())
	require.NoError(t, Write(root, edits[:1]))
	again, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"prod/server.yaml:4: spec: {backup: {barmanObjectStore: {serverName: immich-database-v2}}}"}, changed(t, again))
}

// TestPlatformTree: the stray manifest beside the kustomization, named by nothing, does not confuse it.
func TestPlatformTree(t *testing.T) {
	content, err := os.ReadFile("../testdata/platform.txtar")
	require.NoError(t, err)
	edits, err := FindAndSet(t.Context(), tree(t, string(content)), immich(), from, to, nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		`infrastructure/database/cnpg/immich/cluster.yaml:10: barmanObjectStore: {destinationPath: "s3://postgres-backups/cnpg/immich", serverName: immich-database-v2}`,
	}, changed(t, edits))
}

// TestPatchedTrees: whatever the base says and however the patch stands, the value of the one that decides
// changes, and of values nothing else.
func TestPatchedTrees(t *testing.T) {
	strategic := "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database, namespace: cloudnative-pg}\nspec:\n  backup:\n    barmanObjectStore:\n      serverName: immich-database-v1\n"
	operations := "- op: add\n  path: /spec/backup/barmanObjectStore/serverName\n  value: immich-database-v1\n"
	nest := func(text string) string {
		return "|\n      " + strings.TrimSpace(strings.ReplaceAll(text, "\n", "\n      ")) + "\n"
	}
	patches := map[string]struct{ kustomization, file, decides string }{
		"no patch":                  {"", "", "base/c.yaml"},
		"strategic merge in a file": {"patches:\n  - path: p.yaml\n", strategic, "p.yaml"},
		"strategic merge inside":    {"patches:\n  - patch: " + nest(strategic), "", "kustomization.yaml"},
		"JSON 6902 in a file":       {"patches:\n  - path: p.yaml\n    target: {kind: Cluster}\n", operations, "p.yaml"},
		"JSON 6902 inside":          {"patches:\n  - target: {name: immich-database}\n    patch: " + nest(operations), "", "kustomization.yaml"},
		"deprecated, inside":        {"patchesStrategicMerge:\n  - " + nest(strategic), "", "kustomization.yaml"},
		"deprecated, in a file":     {"patchesStrategicMerge:\n  - p.yaml\n", strategic, "p.yaml"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, patch := range patches {
		for _, server := range []string{from, "immich-database-v0", ""} {
			if patch.kustomization == "" && server != from {
				continue
			}
			base := strings.Replace(manifest, "      serverName: immich-database-v1\n", "      serverName: "+server+"\n", 1)
			if server == "" {
				base = strings.Replace(manifest, "      serverName: immich-database-v1\n", "", 1)
			}
			archive := []txtar.File{
				{Name: "base/kustomization.yaml", Data: []byte("resources:\n- c.yaml\n")}, {Name: "base/c.yaml", Data: []byte(base)},
				{Name: "kustomization.yaml", Data: []byte("resources: [base]\n" + patch.kustomization)}, {Name: "p.yaml", Data: []byte(patch.file)},
			}
			root := tree(t, string(txtar.Format(&txtar.Archive{Files: archive})))
			if random.IntN(2) == 0 {
				for _, file := range archive {
					require.NoError(t, os.WriteFile(filepath.Join(root, file.Name), []byte(strings.ReplaceAll(string(file.Data), "\n", "\r\n")), 0o600))
				}
			}
			edits, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
			require.NoError(t, err, "%s, base %q", name, server)
			decided := []string{}
			for _, edited := range edits {
				require.Len(t, edited.After, len(edited.Before), "one letter changes at a time")
				for _, change := range edited.Changes {
					if !change.Commented {
						decided = append(decided, edited.Path)
					}
				}
			}
			require.Equal(t, []string{patch.decides}, decided, "%s, base %q", name, server)
			require.NoError(t, Write(root, edits))
			again, err := FindAndSet(t.Context(), root, immich(), from, to, nil)
			require.NoError(t, err)
			require.Empty(t, again)
		}
	}
}
