package nfs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/require"
)

// childOptions, when set, makes the test program open that storage, print what came of it, and end:
// the way to run the code as a user who is not root.
const childOptions = "DRCTL_NFS_TEST_OPTIONS"

// childResult is what the child prints.
type childResult struct {
	UID   int
	Blobs int
	Error string
}

func TestMain(m *testing.M) {
	if options := os.Getenv(childOptions); options != "" {
		if err := json.NewEncoder(os.Stdout).Encode(runChild(context.Background(), options)); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(ctx context.Context, options string) childResult {
	result := childResult{UID: os.Getuid()}
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		result.Error = fmt.Sprint("options: ", err)
		return result
	}
	s, err := New(ctx, o)
	if err == nil {
		err = s.ListBlobs(ctx, "", func(blob.Metadata) error { result.Blobs++; return nil })
	}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// asNobody opens and lists a storage in a process of uid 65534, which may bind no port below 1024.
func asNobody(t *testing.T, o Options) childResult {
	t.Helper()
	program := copyTestProgram(t)
	options, err := json.Marshal(o)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), childOptions+"="+string(options))
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	require.NoError(t, err)
	var result childResult
	require.NoError(t, json.Unmarshal(out, &result))
	require.Equal(t, 65534, result.UID)
	return result
}

// copyTestProgram: go test keeps its own copy in a folder that only its user may enter.
func copyTestProgram(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	source, err := os.Open(self)
	require.NoError(t, err)
	defer func() { _ = source.Close() }()
	dir, err := os.MkdirTemp("", "nfs-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	target, err := os.OpenFile(filepath.Join(dir, "nfs.test"), os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(target, source)
	require.NoError(t, err)
	require.NoError(t, target.Close())
	return target.Name()
}
