package config

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

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
		{name: "a password behind a user with an @", content: "repo: s3://user@corp:CANARY@bucket/x\n", err: recovery.ErrUsage, says: "holds a password"},
		{name: "bytes that are no text", content: "repo: !!binary f6in\n", err: recovery.ErrUsage, says: "another character"},
		{name: "two lines", content: "gitops: |\n  /src\n  /platform\n", err: recovery.ErrUsage, says: "gitops holds a line end"},
		{name: "a password and a line end", content: "repo: |\n  s3://user:CANARY@bucket/x\n", err: recovery.ErrUsage, says: "repo holds"},
		{name: "an escape sequence", content: "caFile: \"\\e[31m\"\n", err: recovery.ErrUsage, says: "another character"},
		{name: "a name with a space and an accent", content: "gitops: /home/zoë/my platform\n", want: File{GitOps: "/home/zoë/my platform"}},
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

// requireNoPassword holds what was accepted to what the package promises, with another parser.
func requireNoPassword(t *testing.T, file File) {
	t.Helper()
	for _, address := range []string{file.Repo, file.DestinationPath, file.EndpointURL} {
		if parsed, err := url.Parse(address); err == nil && parsed.Host != "" {
			_, has := parsed.User.Password()
			require.False(t, has, "an address with a password was accepted: %q", address)
		}
	}
}

// FuzzAddresses fuzzes what a well-formed file may hold, without the YAML in which FuzzParse gets lost.
func FuzzAddresses(f *testing.F) {
	for field := range uint8(3) {
		f.Add(field, "s3://", "user", ":secret", "bucket/path")
		f.Add(field, "https://", "user", "", "minio.example:9000")
	}
	f.Fuzz(func(t *testing.T, field uint8, scheme, user, password, host string) {
		var file File
		addresses := []*string{&file.Repo, &file.DestinationPath, &file.EndpointURL}
		*addresses[int(field)%len(addresses)] = scheme + user + password + "@" + host
		if file.validate() == nil {
			requireNoPassword(t, file)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "repo: /mnt\n", "repo: s3://user:pw@b/p", "a: &a [*a]", "repo: |\n  x\n", "endpointURL: http://127.0.0.1:9000\ndestinationPath: s3://b/p # c\n", "passwordFile: a\ngitops: b\ncaFile: c\ncacheDirectory: d\n", "? {a: b}\n: c", "---\n---\n", "repo: !!binary aGk=", "repo: !!binary f6in"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		file, err := Parse(content)
		if err != nil {
			return
		}
		requireNoPassword(t, file)
		written, err := yaml.Marshal(file)
		require.NoError(t, err)
		again, err := Parse(written)
		require.NoError(t, err)
		require.Equal(t, file, again, "what was read says the same when it is written and read again")
	})
}
