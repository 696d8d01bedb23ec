package gitops

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func secretsDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

func TestSecretFiles(t *testing.T) {
	dir := secretsDir(t, map[string]string{
		"a/kopia.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: kopia, namespace: volsync-system, labels: {a: b}}\ntype: Opaque\nstringData: {KOPIA_PASSWORD: plain}\ndata: {KOPIA_PASSWORD: b2xk, OTHER: b3RoZXI=}\n" +
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: no, namespace: x}\n",
		"b.json":           `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s3","namespace":"db"},"stringData":{"k":"CHANGE-ME"}}`,
		"README.md":        "kind: Secret",
		".git/hidden.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: hidden, namespace: x}\n",
	})
	files, err := SecretFiles(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.Equal(t, SecretFile{
		File: "a/kopia.yaml", Namespace: "volsync-system", Name: "kopia", Type: "Opaque", Labels: map[string]string{"a": "b"},
		Values: map[string][]byte{"KOPIA_PASSWORD": []byte("plain"), "OTHER": []byte("other")},
	}, files[0])
	require.Equal(t, "CHANGE-ME", string(files[1].Values["k"]), "what was not filled in is for the preflight to name")
}

func TestBadSecretFiles(t *testing.T) {
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: apps}\n"
	for name, c := range map[string]struct {
		files map[string]string
		why   string
	}{
		"no namespace": {map[string]string{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"}, "no namespace"},
		"twice":        {map[string]string{"a.yaml": head, "b.yaml": head}, "a.yaml too"},
		"no base64":    {map[string]string{"a.yaml": head + "data: {k: canary-not-base64}\n"}, "data.k is not base64"},
		"a number":     {map[string]string{"a.yaml": head + "stringData: {k: 424242}\n"}, "stringData.k is no text"},
		"encrypted":    {map[string]string{"a.yaml": head + "stringData: {k: 'ENC[AES256_GCM,data:canary]'}\n"}, "SOPS"},
		"no yaml":      {map[string]string{"a.yaml": head + "stringData: {k: [canary\n"}, "it is not YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := SecretFiles(t.Context(), secretsDir(t, c.files))
			require.ErrorIs(t, err, recovery.ErrDamaged)
			require.ErrorContains(t, err, c.why)
			require.NotContains(t, err.Error(), "canary")
			require.NotContains(t, err.Error(), "424242")
		})
	}
	_, err := SecretFiles(t.Context(), filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, recovery.ErrNotFound)
}
