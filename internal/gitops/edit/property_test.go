package edit

import (
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// properties is how many manifests are generated.
const properties = 1000

// TestProperties: only the intended lines differ, byte for byte; the parsed result names the new server;
// twice is once; and the changes that are reported are those that were made.
func TestProperties(t *testing.T) {
	for seed := range uint64(properties) {
		manifest := generate(seed)
		result, err := SetServer([]byte(manifest.before), immich(), manifest.from, to)
		require.NoError(t, err, "seed %d\n%s", seed, manifest.before)
		require.Equal(t, manifest.after, string(result.Content), "seed %d", seed)
		require.Len(t, result.Changes, manifest.changes, "seed %d", seed)
		require.Equal(t, []string{to}, writeServers(t, manifest.after), "seed %d", seed)
		again, err := SetServer(result.Content, immich(), manifest.from, to)
		require.NoError(t, err)
		require.Equal(t, string(result.Content), string(again.Content))
		require.Empty(t, again.Changes)
	}
}

// writeServers reads with another parser, the one of Kubernetes, to which servers the target writes.
func writeServers(t *testing.T, content string) []string {
	t.Helper()
	var found []string
	for _, d := range documents(split(content)) {
		text := ""
		for _, line := range d.source.text.lines {
			text += line
		}
		var object struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
			Spec             struct {
				Backup  struct{ BarmanObjectStore *struct{ ServerName string } }
				Plugins []struct {
					Name       string
					Parameters map[string]string
				}
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(text), &object))
		if object.APIVersion != group+"v1" || object.Metadata.Name != immich().Name || object.Metadata.Namespace == "elsewhere" {
			continue
		}
		if store := object.Spec.Backup.BarmanObjectStore; store != nil {
			found = append(found, store.ServerName)
		}
		for _, entry := range object.Spec.Plugins {
			if entry.Name == pluginName {
				found = append(found, entry.Parameters[serverName])
			}
		}
	}
	return found
}
