package edit

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	from = "immich-database-v1"
	to   = "immich-database-v2"
)

func immich() Target {
	return Target{Kind: "Cluster", Namespace: "cloudnative-pg", Name: "immich-database"}
}

// cases reads testdata/NAME: each file NAME is an input, and NAME.want what is to come of it.
func cases(t testing.TB, archive string) map[string][2]string {
	t.Helper()
	content, err := os.ReadFile("testdata/" + archive)
	require.NoError(t, err)
	found := map[string][2]string{}
	for _, file := range txtar.Parse(content).Files {
		name, wanted := strings.CutSuffix(file.Name, ".want")
		pair := found[name]
		if wanted {
			pair[1] = string(file.Data)
		} else {
			pair[0] = string(file.Data)
		}
		found[name] = pair
	}
	return found
}

// lineEnds are the forms in which a file may come; each is a change of text that must not matter.
func lineEnds() map[string]func(string) string {
	return map[string]func(string) string{
		"LF":          func(s string) string { return s },
		"CRLF":        func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		"no last end": func(s string) string { return strings.TrimSuffix(s, "\n") },
		"BOM":         func(s string) string { return byteOrderMark + s },
		"documents around": func(s string) string {
			return "# first\nkind: Other\n---\n" + s + "---\napiVersion: v1\nkind: [broken\n"
		},
		"separator and end": func(s string) string { return "--- # one\n" + s + "...\n" },
	}
}

func TestSetServerEdits(t *testing.T) {
	for name, pair := range cases(t, "edited.txtar") {
		for form, shape := range lineEnds() {
			t.Run(name+"/"+form, func(t *testing.T) {
				result, err := SetServer([]byte(shape(pair[0])), immich(), from, to)
				require.NoError(t, err)
				require.Equal(t, shape(pair[1]), string(result.Content))
				require.NotEmpty(t, result.Changes)
				again, err := SetServer(result.Content, immich(), from, to)
				require.NoError(t, err)
				require.Equal(t, string(result.Content), string(again.Content))
				require.Empty(t, again.Changes)
			})
		}
	}
}

func TestSetServerRefuses(t *testing.T) {
	for name, pair := range cases(t, "refused.txtar") {
		for form, shape := range lineEnds() {
			t.Run(name+"/"+form, func(t *testing.T) {
				result, err := SetServer([]byte(shape(pair[0])), immich(), from, to)
				var refusal *Unrecognised
				require.ErrorAs(t, err, &refusal)
				require.ErrorIs(t, err, recovery.ErrUnsupported)
				require.Contains(t, refusal.Why, strings.TrimSpace(pair[1]))
				require.Contains(t, refusal.ManualPatch, "+      ")
				require.Empty(t, result)
			})
		}
	}
}

func TestChangesSayWhere(t *testing.T) {
	result, err := SetServer([]byte(cases(t, "edited.txtar")["leftover and import"][0]), immich(), from, to)
	require.NoError(t, err)
	require.Empty(t, result.Warnings)
	lines := strings.Split(string(result.Content), "\n")
	paths := []string{}
	for _, change := range result.Changes {
		require.Contains(t, lines[change.Line-1], to)
		require.Equal(t, change.Commented, strings.Contains(lines[change.Line-1], "#"))
		paths = append(paths, change.Path+" "+change.Old)
	}
	require.Equal(t, []string{
		"spec.externalClusters[leftover].barmanObjectStore.serverName immich-database-v1",
		"spec.externalClusters[immich-database-v1].barmanObjectStore.serverName ",
		"spec.externalClusters[commented].barmanObjectStore.serverName immich-database-v1",
		"spec.externalClusters[commented-without-store].barmanObjectStore.serverName immich-database-v1",
		"spec.backup.barmanObjectStore.serverName immich-database-v1",
	}, paths)
}

// TestCommentsThatCannotBeRead are named, since the next recovery by hand would read them.
func TestCommentsThatCannotBeRead(t *testing.T) {
	content := "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database}\nspec:\n" +
		"  # externalClusters:\n  # - name: x\n  #   barmanObjectStore: {<<: *store, serverName: immich-database-v1}\n" +
		"  backup: {barmanObjectStore: {serverName: immich-database-v1}}\n"
	result, err := SetServer([]byte(content), immich(), from, to)
	require.NoError(t, err)
	require.Len(t, result.Changes, 1)
	require.Equal(t, []string{"line 7: the comment there names a server and can't be read as YAML for itself: set it to immich-database-v2 by hand"}, result.Warnings)
}

// TestDefaultServer inserts the line that was not there, in the indentation of its neighbours.
func TestDefaultServer(t *testing.T) {
	head := "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database}\nspec:\n"
	tests := map[string][2]string{
		"block": {
			"  backup:\n    barmanObjectStore: # where\n        # the bucket\n        destinationPath: s3://a/b\n",
			"  backup:\n    barmanObjectStore: # where\n        serverName: immich-database-v2\n        # the bucket\n        destinationPath: s3://a/b\n",
		},
		"plugin": {
			"  plugins:\n  - name: barman-cloud.cloudnative-pg.io\n    parameters:\n\n      barmanObjectName: garage\n",
			"  plugins:\n  - name: barman-cloud.cloudnative-pg.io\n    parameters:\n      serverName: immich-database-v2\n\n      barmanObjectName: garage\n",
		},
		"flow":       {"  backup: {barmanObjectStore: {destinationPath: x}}\n", "  backup: {barmanObjectStore: {serverName: immich-database-v2, destinationPath: x}}\n"},
		"empty flow": {"  backup: {barmanObjectStore: {}}\n", "  backup: {barmanObjectStore: {serverName: immich-database-v2}}\n"},
	}
	for name, pair := range tests {
		for form, shape := range lineEnds() {
			t.Run(name+"/"+form, func(t *testing.T) {
				result, err := SetServer([]byte(shape(head+pair[0])), immich(), "immich-database", to)
				require.NoError(t, err)
				require.Equal(t, shape(head+pair[1]), string(result.Content))
			})
		}
	}
}

// TestQuotes: a name that YAML would read as a number or a truth value is put in quotes.
func TestQuotes(t *testing.T) {
	content := "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: immich-database}\nspec: {backup: {barmanObjectStore: {serverName: immich-database-v1}}}\n"
	for _, name := range []string{"7", "0x10", "1e3", "on", "NULL", "1.5", "2026-11-24"} {
		result, err := SetServer([]byte(content), immich(), from, name)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(content, from, `"`+name+`"`), string(result.Content))
	}
}

func TestNames(t *testing.T) {
	for _, names := range [][2]string{{"", to}, {from, ""}, {from, from}, {from, "a b"}, {from, "../x"}, {from, "a: b"}, {from, "x-"}} {
		_, err := SetServer([]byte("a: 1"), immich(), names[0], names[1])
		require.ErrorIs(t, err, recovery.ErrUsage)
		var problem *recovery.Problem
		require.True(t, errors.As(err, &problem))
		require.NotEmpty(t, problem.Next)
	}
}
