package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// values reads all documents of a file, aliases and merge keys taken in, into PATH → VALUE; entries of a
// list go by their name, as in a Change. ok is false when the file does not parse to its end.
func values(content []byte) (found []map[string]string, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var value any
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return found, true
		}
		if err != nil {
			return nil, false
		}
		flat := map[string]string{}
		flatten(flat, "", value)
		found = append(found, flat)
	}
}

func flatten(into map[string]string, path string, value any) {
	pair := func(key, value any) { flatten(into, strings.TrimPrefix(fmt.Sprintf("%s.%v", path, key), "."), value) }
	switch typed := value.(type) {
	case map[string]any:
		for key, value := range typed {
			pair(key, value)
		}
	case map[any]any:
		for key, value := range typed {
			pair(key, value)
		}
	case []any:
		for i, item := range typed {
			name := fmt.Sprint(i)
			if entry, isMapping := item.(map[string]any); isMapping && entry["name"] != nil {
				name = fmt.Sprint(entry["name"])
			}
			for into[path+"["+name+"]"] != "" {
				name += "'"
			}
			into[path+"["+name+"]"] = fmt.Sprintf("%T", item)
			flatten(into, path+"["+name+"]", item)
		}
	default:
		into[path] = fmt.Sprintf("%T %v", value, value)
	}
}

// changedPaths compares two files value by value.
func changedPaths(t *testing.T, before, after []map[string]string) []string {
	t.Helper()
	require.Len(t, after, len(before))
	var paths []string
	for i := range before {
		for path, value := range after[i] {
			if before[i][path] != value {
				require.Equal(t, "string "+to, value, path)
				paths = append(paths, path)
			}
		}
		for path := range before[i] {
			require.Contains(t, after[i], path)
		}
	}
	return paths
}

// checkEdit holds a result against what SetServer promises, with nothing of the editor's own.
func checkEdit(t *testing.T, content []byte, oldServer string) {
	result, err := SetServer(content, immich(), oldServer, to)
	if err != nil {
		var refusal *Unrecognised
		require.ErrorAs(t, err, &refusal)
		require.Empty(t, result)
		return
	}
	if len(result.Changes) == 0 {
		require.Equal(t, string(content), string(result.Content))
		return
	}
	again, err := SetServer(result.Content, immich(), oldServer, to)
	require.NoError(t, err)
	require.Equal(t, string(result.Content), string(again.Content))

	var intended []string
	grown := 0
	for _, change := range result.Changes {
		if !change.Commented {
			intended = append(intended, change.Path)
		}
		grown += len(change.New) - len(change.Old)
	}
	if !slices.ContainsFunc(result.Changes, func(c Change) bool { return c.Old == "" }) {
		require.Len(t, result.Content, len(content)+grown)
	}
	before, ok := values(content)
	if !ok {
		return
	}
	after, ok := values(result.Content)
	require.True(t, ok)
	for _, path := range changedPaths(t, before, after) {
		require.True(t, slices.ContainsFunc(intended, func(suffix string) bool {
			return strings.HasSuffix(strings.ReplaceAll(path, "'", ""), strings.ReplaceAll(suffix, "'", ""))
		}),
			"%s changed, intended are %v", path, intended)
	}
}

func FuzzSetServer(f *testing.F) {
	for seed := range uint64(20) {
		f.Add([]byte(generate(seed).before))
	}
	for _, archive := range []string{"edited.txtar", "refused.txtar"} {
		for _, pair := range cases(f, archive) {
			f.Add([]byte(pair[0]))
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		checkEdit(t, content, from)
		checkEdit(t, content, immich().Name)
	})
}

// FuzzPatches edits kustomizations with patches in them, and patches with a target: but for the servers'
// names, all values stay.
func FuzzPatches(f *testing.F) {
	for _, test := range trees() {
		for _, file := range txtar.Parse([]byte(test.archive)).Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, req := range []request{{kustomization: true}, {jsonPatch: true, anyName: true}} {
			req.target, req.from, req.to = immich(), from, to
			made, err := edit(content, req)
			var why *reason
			if err != nil {
				require.ErrorAs(t, err, &why)
				continue
			}
			require.Equal(t, len(made.changes) == 0, made.content == string(content))
			before, ok := values(content)
			if !ok || len(made.changes) == 0 {
				continue
			}
			after, ok := values([]byte(made.content))
			require.True(t, ok)
			require.Len(t, after, len(before))
			for i := range before {
				require.Len(t, after[i], len(before[i]))
				for path, value := range before[i] {
					require.Equal(t, strings.ReplaceAll(value, from, to), strings.ReplaceAll(after[i][path], from, to), path)
				}
			}
		}
	})
}
