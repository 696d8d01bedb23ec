package app

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/drctl/drctl/internal/cli/command"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/ui"
)

// newApp makes an App in an empty home, with this environment and nothing of the process's own.
func newApp(t *testing.T, settings command.Settings, environment map[string]string) (*App, *bytes.Buffer) {
	t.Helper()
	home := t.TempDir()
	// cli-runtime reads these from the process itself.
	t.Setenv("HOME", home)
	t.Setenv("KUBECONFIG", environment["KUBECONFIG"])
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	settings.Kube = genericclioptions.NewConfigFlags(true)
	settings.Kube.CacheDir = nil
	var errs bytes.Buffer
	getenv := func(name string) string {
		if name == "HOME" && environment["HOME"] == "" {
			return home
		}
		return environment[name]
	}
	return New(t.Context(), &settings, ui.Streams{Err: &errs}, getenv), &errs
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestPlacesAreLookedForInOrder(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, ".drctl.yaml"), "repo: tree\nendpointURL: tree\ndestinationPath: tree\ncaFile: /tree\n")
	xdg := t.TempDir()
	write(t, filepath.Join(xdg, "drctl", "config.yaml"), "repo: own\nendpointURL: own\ndestinationPath: own\ngitops: "+tree+"\n")
	a, _ := newApp(t, command.Settings{Repo: "flag"}, map[string]string{"XDG_CONFIG_HOME": xdg, "DRCTL_REPO": "environment", "DRCTL_ENDPOINT_URL": "environment"})
	places, err := a.places()
	require.NoError(t, err)
	require.Equal(t, "flag", places.Repo)
	require.Equal(t, "environment", places.EndpointURL)
	require.Equal(t, "own", places.DestinationPath)
	require.Equal(t, "/tree", places.CAFile)
	require.Equal(t, tree, places.GitOps)
}

func TestOurOwnVariableIsMoreParticularThanAWSs(t *testing.T) {
	a, _ := newApp(t, command.Settings{}, map[string]string{"AWS_ENDPOINT_URL": "aws", "DRCTL_ENDPOINT_URL": "ours"})
	places, err := a.places()
	require.NoError(t, err)
	require.Equal(t, "ours", places.EndpointURL)
	a, _ = newApp(t, command.Settings{}, map[string]string{"AWS_ENDPOINT_URL": "aws"})
	places, err = a.places()
	require.NoError(t, err)
	require.Equal(t, "aws", places.EndpointURL)
}

func TestABrokenConfigurationStopsEverything(t *testing.T) {
	config := write(t, filepath.Join(t.TempDir(), "c.yaml"), "repositroy: /mnt\n")
	a, _ := newApp(t, command.Settings{ConfigFile: config}, nil)
	_, _, err := a.PVC(t.Context(), true)
	require.ErrorIs(t, err, recovery.ErrUsage)
	require.ErrorContains(t, err, config)
}

func TestKopiaPassword(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "password"), "from-file\n")
	windows := write(t, filepath.Join(t.TempDir(), "password"), "from-file\r\n")
	empty := write(t, filepath.Join(t.TempDir(), "password"), "\n")
	cases := []struct {
		name        string
		settings    command.Settings
		environment map[string]string
		want        string
		says        string
	}{
		{"variable", command.Settings{}, map[string]string{"KOPIA_PASSWORD": "from-variable"}, "from-variable", ""},
		{"file by flag before the variable", command.Settings{PasswordFile: file}, map[string]string{"KOPIA_PASSWORD": "from-variable"}, "from-file", ""},
		{"variable before a configured file", command.Settings{}, map[string]string{"KOPIA_PASSWORD": "from-variable", "DRCTL_PASSWORD_FILE": file}, "from-variable", ""},
		{"configured file", command.Settings{}, map[string]string{"DRCTL_PASSWORD_FILE": windows}, "from-file", ""},
		{"empty file", command.Settings{PasswordFile: empty}, nil, "", "no password"},
		{"missing file", command.Settings{PasswordFile: "/does/not/exist"}, nil, "", "--password-file"},
		{"nowhere", command.Settings{Offline: true}, nil, "", "set KOPIA_PASSWORD"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, _ := newApp(t, c.settings, c.environment)
			got, err := a.kopiaPassword(t.Context())
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestWhichManifests(t *testing.T) {
	kubeconfig := write(t, filepath.Join(t.TempDir(), "kubeconfig"), `apiVersion: v1
kind: Config
contexts: [{name: prod, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
current-context: prod
`)
	tree := t.TempDir()
	cases := []struct {
		name        string
		settings    command.Settings
		environment map[string]string
		live, tree  bool
		says        string
	}{
		{"a cluster is configured", command.Settings{}, map[string]string{"KUBECONFIG": kubeconfig}, true, false, ""},
		{"offline wins over a cluster", command.Settings{Offline: true, GitOps: tree}, map[string]string{"KUBECONFIG": kubeconfig}, false, true, ""},
		{"no cluster, a tree", command.Settings{GitOps: tree}, nil, false, true, ""},
		{"no cluster, a repository", command.Settings{Repo: "/mnt"}, nil, false, false, ""},
		{"nothing", command.Settings{}, nil, false, false, "no cluster is configured"},
		{"offline with nothing", command.Settings{Offline: true}, nil, false, false, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, _ := newApp(t, c.settings, c.environment)
			got, _, err := a.objects()
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.live, got.live != nil)
			require.Equal(t, c.tree, got.tree != nil)
		})
	}
}

func TestDatabasesNeedManifests(t *testing.T) {
	a, _ := newApp(t, command.Settings{Offline: true}, nil)
	_, _, err := a.CNPG(t.Context(), true)
	require.ErrorIs(t, err, recovery.ErrUsage)
	require.ErrorContains(t, err, "--gitops DIR")
	a, _ = newApp(t, command.Settings{Repo: "/mnt"}, nil)
	_, _, err = a.CNPG(t.Context(), true)
	require.ErrorContains(t, err, "no cluster is configured")
}

func TestTheRepositoryIsFoundInTheTree(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "policy.yaml"), `apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: volsync-nfs-inject}
spec:
  rules:
  - name: inject
    mutate:
      patchStrategicMerge:
        spec: {template: {spec: {volumes: [{name: repository, nfs: {server: 192.0.2.1, path: /mnt/backup/volsync}}]}}}
`)
	a, _ := newApp(t, command.Settings{Offline: true, GitOps: tree}, nil)
	found, err := a.discoverRepository(t.Context())
	require.NoError(t, err)
	require.Equal(t, "nfs://192.0.2.1/mnt/backup/volsync", found)
	a, _ = newApp(t, command.Settings{Offline: true, GitOps: t.TempDir()}, nil)
	_, err = a.discoverRepository(t.Context())
	require.ErrorIs(t, err, recovery.ErrNotFound)
	require.ErrorContains(t, err, "give --repo")
}

func TestOnlyS3(t *testing.T) {
	_, _, err := destination("gs://bucket/path")
	require.ErrorIs(t, err, recovery.ErrUnsupported)
	bucket, prefix, err := destination("s3://postgres-backups/cnpg/immich")
	require.NoError(t, err)
	require.Equal(t, "postgres-backups", bucket)
	require.Equal(t, "cnpg/immich", prefix)
}

func TestABackupCredentialThatIsNowhere(t *testing.T) {
	a, _ := newApp(t, command.Settings{Offline: true, GitOps: t.TempDir()}, nil)
	store := recovery.ObjectStore{
		DestinationPath: "s3://b/p", AccessKeyID: recovery.SecretKey{Name: "cnpg-s3-credentials", Key: "AWS_ACCESS_KEY_ID"},
		SecretAccessKey: recovery.SecretKey{Name: "cnpg-s3-credentials", Key: "AWS_SECRET_ACCESS_KEY"},
	}
	_, err := a.s3Client(t.Context(), "cloudnative-pg", store)
	require.ErrorContains(t, err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	a, _ = newApp(t, command.Settings{Offline: true}, map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
	_, err = a.s3Client(t.Context(), "cloudnative-pg", store)
	require.NoError(t, err, "the environment comes first")
}
