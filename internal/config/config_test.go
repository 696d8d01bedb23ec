package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestParse(t *testing.T) {
	cases := []struct {
		name, content string
		want          File
		err           error
		says          string
	}{
		{name: "empty"},
		{name: "only a comment", content: "# nothing yet\n"},
		{name: "places", content: "repo: nfs://192.168.1.100/mnt/backup/volsync\ngitops: /src/platform\n", want: File{Repo: "nfs://192.168.1.100/mnt/backup/volsync", GitOps: "/src/platform"}},
		{name: "a misspelt key", content: "repository: /mnt\n", err: recovery.ErrUsage, says: `unknown field "repository"`},
		{name: "a key twice", content: "repo: /a\nrepo: /b\n", err: recovery.ErrUsage, says: "already set"},
		{name: "a list", content: "repo: [a]\n", err: recovery.ErrUsage},
		{name: "a password in an address", content: "repo: s3://user:CANARY@bucket/x\n", err: recovery.ErrUsage, says: "holds a password"},
		{name: "binary", content: "repo: a\x00b\n", err: recovery.ErrDamaged},
		{name: "too long", content: strings.Repeat("#", mostBytes+1), err: recovery.ErrDamaged},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.content))
			if c.err == nil {
				require.NoError(t, err)
				require.Equal(t, c.want, got)
				return
			}
			require.ErrorIs(t, err, c.err)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "CANARY")
		})
	}
}

func TestReadResolvesPathsAgainstTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte("passwordFile: kopia.txt\nrepo: ./repository\ncaFile: /etc/ca.pem\n"), 0o600))
	file, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, File{PasswordFile: filepath.Join(dir, "kopia.txt"), Repo: filepath.Join(dir, "repository"), CAFile: "/etc/ca.pem"}, file)
}

func TestAMissingFileIsEmptyAndABrokenOneNamesItself(t *testing.T) {
	file, err := Read(filepath.Join(t.TempDir(), "none.yaml"))
	require.NoError(t, err)
	require.Zero(t, file)
	path := filepath.Join(t.TempDir(), "broken.yaml")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = Read(path)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "known keys are")
}

func TestTheFirstThatSaysSomethingWins(t *testing.T) {
	merged := File{Repo: "flag"}.Merge(File{Repo: "environment", GitOps: "environment"}).Merge(File{GitOps: "file", EndpointURL: "file"})
	require.Equal(t, File{Repo: "flag", GitOps: "environment", EndpointURL: "file"}, merged)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "repo: /mnt\n", "repo: s3://user:pw@b/p", "a: &a [*a]", "repo: |\n  x\n", "? {a: b}\n: c", "---\n---\n", "repo: !!binary aGk="} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := Parse(content)
		if err != nil {
			return
		}
		// What was accepted holds no password, and says the same when read again.
		require.NoError(t, file.validate())
		require.Equal(t, file, File{}.Merge(file))
	})
}
