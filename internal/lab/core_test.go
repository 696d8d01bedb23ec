package lab

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMinIOStartsAndStops(t *testing.T) {
	ctx := t.Context()
	s := NewStack(t.TempDir(), t.Logf)
	m, err := s.MinIO(ctx)
	require.NoError(t, err)
	require.NoError(t, m.MakeBucket(ctx, "postgres-backups"))
	require.NoError(t, m.MakeBucket(ctx, "postgres-backups"), "an existing bucket is fine")
	require.NoError(t, m.PutObject(ctx, "postgres-backups", "a/b", []byte("x")))
	require.NoError(t, s.Close())
	_, err = net.DialTimeout("tcp", strings.TrimPrefix(m.EndpointURL, "http://"), time.Second)
	require.Error(t, err, "nothing may listen after Close")
}

func TestKopiaMakesSnapshotsOfAnotherSource(t *testing.T) {
	ctx := t.Context()
	k, err := ForTest(t).Kopia(ctx)
	require.NoError(t, err)
	files := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(files, "a.txt"), []byte("hello"), 0o600))
	require.NoError(t, k.CreateRepository(ctx, filepath.Join(t.TempDir(), "repository")))
	require.NoError(t, k.Snapshot(ctx, "data-pvc-backup@karakeep:/data", files))
	out, err := k.Run(ctx, "snapshot", "list", "--all", "--json")
	require.NoError(t, err)
	var listed []struct {
		Source struct{ Host, UserName, Path string }
	}
	require.NoError(t, json.Unmarshal(out, &listed))
	require.Len(t, listed, 1)
	require.Equal(t, "data-pvc-backup", listed[0].Source.UserName)
	require.Equal(t, "karakeep", listed[0].Source.Host)
}

func TestAProgramThatEndsIsNotReady(t *testing.T) {
	s := ForTest(t)
	_, err := s.Start(t.Context(), Command{
		Name: "false", Path: "/bin/sh", Args: []string{"-c", "echo why it ended; exit 3"},
		Ready: func(context.Context) error { return os.ErrNotExist },
	})
	require.ErrorContains(t, err, "why it ended")
}
