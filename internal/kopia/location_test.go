package kopia_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/recovery"
)

func TestParseLocation(t *testing.T) {
	t.Parallel()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	nfs := kopia.Location{Scheme: kopia.SchemeNFS, Host: "192.168.1.100", Path: "/mnt/backup/volsync", UID: 568, GID: 568}
	withPorts, withUser, v6 := nfs, nfs, nfs
	withPorts.Port, withPorts.MountPort = 2049, 20048
	withUser.UID, withUser.GID = 0, 1000
	v6.Host = "fd00::1"
	for text, want := range map[string]kopia.Location{
		"/mnt/backup":                            {Scheme: kopia.SchemeFile, Path: "/mnt/backup"},
		"/mnt/backup/":                           {Scheme: kopia.SchemeFile, Path: "/mnt/backup"},
		"repository":                             {Scheme: kopia.SchemeFile, Path: filepath.Join(here, "repository")},
		"./odd://name":                           {Scheme: kopia.SchemeFile, Path: filepath.Join(here, "odd:/name")},
		"file:///mnt/my%20backup":                {Scheme: kopia.SchemeFile, Path: "/mnt/my backup"},
		"FILE:///mnt/backup":                     {Scheme: kopia.SchemeFile, Path: "/mnt/backup"},
		"s3://bucket":                            {Scheme: kopia.SchemeS3, Bucket: "bucket"},
		"s3://bucket/":                           {Scheme: kopia.SchemeS3, Bucket: "bucket"},
		"s3://volsync-backups/kopia/a b":         {Scheme: kopia.SchemeS3, Bucket: "volsync-backups", Prefix: "kopia/a b"},
		"s3://bucket/kopia/":                     {Scheme: kopia.SchemeS3, Bucket: "bucket", Prefix: "kopia"},
		"nfs://192.168.1.100/mnt/backup/volsync": nfs,
		"nfs://192.168.1.100/mnt/backup/volsync?uid=568&gid=568":                nfs,
		"nfs://192.168.1.100:2049/mnt/backup/../backup/volsync?mountport=20048": withPorts,
		"nfs://192.168.1.100/mnt/backup/volsync?uid=0&gid=1000":                 withUser,
		"nfs://[fd00::1]/mnt/backup/volsync":                                    v6,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got, err := kopia.ParseLocation(text)
			require.NoError(t, err)
			require.Equal(t, want, got)
			again, err := kopia.ParseLocation(got.String())
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestParseLocationRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "no repository is named",
		"/mnt/\x00":                          "control character",
		"file:///mnt/%00":                    "control character",
		"nfs://host/export%0a":               "control character",
		"file://host/path":                   "absolute path",
		"file:///%zz":                        "%-escapes",
		"http://host/path":                   "drctl reads no http repositories",
		"sftp://host/path":                   "drctl reads no sftp repositories",
		"s3://":                              "names no bucket",
		"s3:///prefix":                       "names no bucket",
		"s3://bucket/prefix?endpoint=x":      "--endpoint-url",
		"nfs:///export":                      "names no NFS server",
		"nfs://host":                         "showmount -e host",
		"nfs://host/":                        "names no export",
		"nfs://host:0/export":                "port",
		"nfs://host:99999/export":            "port",
		"nfs://host/export?uid=-1":           "uid is no number",
		"nfs://host/export?gid=4294967296":   "gid is no number",
		"nfs://host/export?mountport=0":      "mountport is no number",
		"nfs://host/export?uid=1&uid=2":      "uid is given twice",
		"nfs://host/export?password=CANARY":  "uid, gid and mountport only",
		"nfs://user:CANARY@host/export":      "no user or password",
		"s3://key:CANARY@bucket/prefix":      "AWS_ACCESS_KEY_ID",
		"s3://key:CANARY%zz@bucket/prefix":   "no user or password",
		"smb://user:CANARY@host/share":       "no user or password",
		"s3://bucket/prefix?password=CANARY": "no ?",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			_, err := kopia.ParseLocation(text)
			require.ErrorIs(t, err, recovery.ErrUsage)
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "CANARY")
			var problem *recovery.Problem
			require.ErrorAs(t, err, &problem)
			require.NotEmpty(t, problem.Next)
		})
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, seed := range []string{
		"/mnt/backup", "file:///a%20b", "nfs://h:1/e?uid=1&gid=2&mountport=3", "nfs://[::1]/e", "s3://b/p", "s3://u:p@b", "nfs://h/%2f", "://", "nfs://h%41/e", "nfs://h/e;x?uid=1;gid=2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := kopia.ParseLocation(text)
		if err != nil {
			require.ErrorIs(t, err, recovery.ErrUsage)
			return
		}
		again, err := kopia.ParseLocation(l.String())
		require.NoError(t, err, "%q reads as %q", text, l.String())
		require.Equal(t, l, again)
	})
}
