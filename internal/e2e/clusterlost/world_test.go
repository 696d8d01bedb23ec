// Package clusterlost loses a whole cluster, and follows the runbook from nothing to everything recovered: a new control
// plane with the real CloudNativePG operator on the backups of the old one, charts and Git over HTTP, an Argo CD that
// comes to life when its chart is installed, and the real drctl at a terminal.
package clusterlost

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/lab/bootstrapworld"
	"github.com/drctl/drctl/internal/recovery"
)

// world is what stays when a cluster is lost: databases' backups in S3, the claims' in a Kopia repository, the GitOps
// tree in its remote, charts; and a person with a checkout and the Secrets.
type world struct {
	*lab.RecoveryLab
	stack *lab.Stack
	// repository is the folder of the claims' Kopia repository.
	repository string
	remote     *lab.GitRemote
	// home is the operator's, with the programs in bin.
	home, program string
}

// snapshotFiles are in the snapshot of claim notes/data.
const snapshotFiles = 13

// newWorld has a cluster whose database holds rows, all of them in S3.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{stack: lab.ForTest(t)}
	w.home = t.TempDir()
	var err error
	w.program, err = bootstrapworld.Build(t.Context(), filepath.Join(w.home, "bin"))
	require.NoError(t, err)
	first := lab.NewStack(filepath.Join(t.TempDir(), "first"), t.Logf)
	t.Cleanup(func() { require.NoError(t, first.Close()) })
	w.RecoveryLab, err = lab.UpRecovery(t.Context(), w.stack, lab.RecoveryOptions{Cluster: first})
	require.NoError(t, err)
	w.repository, err = w.stack.Dir("repository")
	require.NoError(t, err)
	at := time.Now().UTC().Add(-time.Hour)
	require.NoError(t, lab.SeedSnapshots(t.Context(), w.repository, bootstrapworld.KopiaPassword, []lab.KopiaSnapshot{{
		Source: recovery.KopiaSource{Username: "data-backup", Hostname: "notes", Path: "/data"}, StartTime: at, EndTime: at.Add(time.Second), SizeBytes: 1 << 20, Files: snapshotFiles,
	}}))
	w.putUnderGit(t)
	return w
}

// putUnderGit makes the platform's tree: the small one of bootstraps, with the database of the recovery lab in wave 4
// and a class of snapshots beside Longhorn.
func (w *world) putUnderGit(t *testing.T) {
	t.Helper()
	charts, err := w.stack.Dir("charts")
	require.NoError(t, err)
	chart := filepath.Join(charts, lab.ArgoChartName)
	require.NoError(t, bootstrapworld.Write("chart", chart, "CHART_VERSION", bootstrapworld.ChartVersion))
	served, err := w.stack.ChartRepository(t.Context(), chart)
	require.NoError(t, err)
	seed := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(seed, "README.md"), []byte("# The platform\n"), 0o600))
	w.remote, err = w.stack.GitRemote(t.Context(), seed)
	require.NoError(t, err)
	words := []string{
		"REPO_URL", w.remote.URL, "CHARTS_URL", served.URL, "CHART_VERSION", bootstrapworld.ChartVersion, "CILIUM_VERSION", bootstrapworld.CiliumVersion,
		"REPOSITORY", w.repository,
	}
	_, err = w.remote.Commit(t.Context(), "The platform", func(dir string) error {
		require.NoError(t, bootstrapworld.Write("tree", dir, words...))
		w.addDatabase(t, dir)
		longhorn := filepath.Join(dir, "infrastructure", "storage", "longhorn")
		require.NoError(t, os.WriteFile(filepath.Join(longhorn, "snapshotclass.yaml"), []byte(snapshotClass), 0o600))
		replace(t, filepath.Join(longhorn, "kustomization.yaml"), "  - deployment.yaml", "  - deployment.yaml\n  - snapshotclass.yaml")
		return nil
	})
	require.NoError(t, err)
}

const snapshotClass = `apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata:
  name: longhorn-snapclass
driver: driver.longhorn.io
deletionPolicy: Delete
`

// addDatabase puts the database's manifests into the tree, and the set that makes an Application of them.
func (w *world) addDatabase(t *testing.T, dir string) {
	t.Helper()
	target := filepath.Join(dir, "infrastructure", "database", "cnpg", "immich")
	require.NoError(t, os.CopyFS(target, os.DirFS(w.DatabaseFolder())))
	// A schedule that does not fire in between, and a base backup that does not wait for a checkpoint.
	replace(t, filepath.Join(target, "scheduled-backup.yaml"), `"0 2 * * *"`, `"0 0 2 1 1 *"`)
	replace(t, filepath.Join(target, "cluster.yaml"), "data:\n        compression: gzip", "data:\n        compression: gzip\n        immediateCheckpoint: true")
	apps := filepath.Join(dir, "infrastructure", "controllers", "argocd", "apps")
	set, err := os.ReadFile(filepath.Join(apps, "infrastructure.yaml"))
	require.NoError(t, err)
	text := strings.NewReplacer("  name: infrastructure\n", "  name: databases\n", "infrastructure/networking/*", "infrastructure/database/cnpg/*",
		"'{{ .path.basename }}'", "'{{ .path.basename }}-database'").Replace(string(set))
	require.NoError(t, os.WriteFile(filepath.Join(apps, "databases.yaml"), []byte(text), 0o600))
	replace(t, filepath.Join(apps, "kustomization.yaml"), "  - my-apps.yaml", "  - databases.yaml\n  - my-apps.yaml")
}

func replace(t *testing.T, path, before, after string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), before, path)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(content), before, after)), 0o600))
}

// anew starts an empty cluster, with an Argo CD that sleeps until it is installed.
func (w *world) anew(t *testing.T) {
	t.Helper()
	second := lab.NewStack(filepath.Join(t.TempDir(), "second"), t.Logf)
	t.Cleanup(func() { require.NoError(t, second.Close()) })
	require.NoError(t, w.Again(t.Context(), second, w.repository))
	require.NoError(t, bootstrapworld.Furnish(t.Context(), w.Kubernetes))
	_, err := second.ArgoCD(t.Context(), w.Kubernetes, w.remote, lab.ArgoOptions{
		Interval: 500 * time.Millisecond, Dormant: true, ChartDelay: 300 * time.Millisecond,
	})
	require.NoError(t, err)
}

// moveIn gives the operator a checkout, and the Secrets that are in no Git.
func (w *world) moveIn(t *testing.T) {
	t.Helper()
	require.NoError(t, w.remote.Clone(t.Context(), filepath.Join(w.home, "src", "platform"), ""))
	secrets := filepath.Join(w.home, "platform-secrets")
	require.NoError(t, bootstrapworld.Write("secrets", secrets, "KOPIA_PASSWORD_VALUE", bootstrapworld.KopiaPassword, "NOTES_TOKEN_VALUE", bootstrapworld.NotesToken))
	require.NoError(t, os.CopyFS(secrets, os.DirFS(filepath.Join(w.GitOpsTree, "secrets", lab.RecoveryNamespace))))
}

// command is drctl with nothing of this process' environment. Without a cluster the operator exports what opens the
// backups; later it is in the folder of Secrets, and then in the cluster.
func (w *world) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, w.program)
	cmd.Dir = w.home
	cmd.Env = []string{"HOME=" + w.home, "TMPDIR=" + w.home, "DRCTL_REPO=" + w.repository}
	if w.Kubernetes != nil {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+w.Kubernetes.Kubeconfig)
		return cmd
	}
	cmd.Env = append(cmd.Env, "KOPIA_PASSWORD="+bootstrapworld.KopiaPassword,
		"AWS_ACCESS_KEY_ID="+w.MinIO.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+w.MinIO.SecretAccessKey)
	return cmd
}

// secrets must appear in no output.
func (w *world) secrets() []string {
	secrets := append(w.Platform.Secrets(), bootstrapworld.NotesToken, bootstrapworld.KopiaPassword, "CANARY-ARGO-SECRET-KEY")
	if w.Kubernetes != nil {
		secrets = append(secrets, w.Kubernetes.Secrets()...)
	}
	return secrets
}
