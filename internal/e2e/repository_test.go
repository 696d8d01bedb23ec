package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

// TestTheSameRepositoryEverywhere lists one repository from a folder and over NFS, and one of the
// same content in S3, through the binary.
func TestTheSameRepositoryEverywhere(t *testing.T) {
	l := shared.Lab(t)
	s := lab.ForTest(t)
	kopia, err := s.Kopia(t.Context())
	require.NoError(t, err)
	password := []string{"KOPIA_PASSWORD=" + kopia.Password}
	list := func(environment []string, repository string, more ...string) []snapshotFacts {
		got := run(t, l, append(password, environment...), append([]string{"pvc", "snapshots", "-A", "--incomplete", "-o", "json", "--repo", repository}, more...)...)
		require.Zero(t, got.code, got.stderr)
		facts := factsOfDrctl(t, got.stdout)
		require.NotEmpty(t, facts)
		return facts
	}
	t.Run("over NFS", func(t *testing.T) {
		export := filepath.Join(t.TempDir(), "volsync")
		require.NoError(t, lab.SeedManySnapshots(t.Context(), export, kopia.Password, 7, 3, true))
		ownedByMover(t, export)
		ganesha, err := s.Ganesha(t.Context(), lab.GaneshaOptions{Dir: export})
		require.NoError(t, err)
		require.Equal(t, list(nil, export), list(nil, ganeshaURL(ganesha)))
	})
	t.Run("in S3", func(t *testing.T) {
		require.NoError(t, l.MinIO.MakeBucket(t.Context(), "kopia"))
		keys := []string{"AWS_ACCESS_KEY_ID=" + l.MinIO.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + l.MinIO.SecretAccessKey}
		_, err := kopia.Run(t.Context(), "repository", "create", "s3", "--bucket", "kopia", "--prefix", "volsync/", "--disable-tls",
			"--endpoint", l.MinIO.EndpointURL[len("http://"):], "--access-key", l.MinIO.AccessKeyID, "--secret-access-key", l.MinIO.SecretAccessKey)
		require.NoError(t, err)
		files := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(files, "a"), []byte("a"), 0o600))
		for _, source := range []string{"data-pvc-backup@karakeep:/data", "library-pvc-backup@immich:/data"} {
			require.NoError(t, kopia.Snapshot(t.Context(), source, files))
		}
		theirs, err := kopia.Run(t.Context(), "snapshot", "list", "--all", "--json", "--incomplete")
		require.NoError(t, err)
		require.Equal(t, factsOfKopia(t, theirs), list(keys, "s3://kopia/volsync", "--endpoint-url", l.MinIO.EndpointURL))
	})
}

// ownedByMover gives the tree to the mover's user, as VolSync leaves it: files 0600, uid 568.
func ownedByMover(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if entry.IsDir() {
			mode = 0o700
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chown(path, 568, 568)
	}))
}

func ganeshaURL(g *lab.Ganesha) string {
	return fmt.Sprintf("nfs://%s:%d%s?mountport=%d&uid=568&gid=568", g.Host, g.Port, g.Export, g.MountPort)
}
