package kopia_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/recovery"
)

// childRepository, when set, makes the test program list that repository, print what came of it, and
// end: the way to see what a whole process leaves behind, and to run as another user.
const childRepository = "DRCTL_KOPIA_TEST_REPOSITORY"

// childResult is what the child prints.
type childResult struct {
	UID       int
	Snapshots int
	Gaps      int
	Error     string
	Denied    bool
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childRepository); dir != "" {
		if err := json.NewEncoder(os.Stdout).Encode(runChild(context.Background(), dir)); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(ctx context.Context, dir string) childResult {
	result := childResult{UID: os.Getuid()}
	snapshots, gaps, err := listOnce(ctx, dir, kopia.Options{Password: password(os.Getenv("KOPIA_PASSWORD"))})
	result.Snapshots, result.Gaps = len(snapshots), len(gaps)
	if err != nil {
		result.Error, result.Denied = err.Error(), errors.Is(err, recovery.ErrDenied)
	}
	return result
}

// listOnce opens, lists and closes.
func listOnce(ctx context.Context, text string, o kopia.Options) (snapshots []recovery.Snapshot, gaps recovery.Gaps, err error) {
	location, err := kopia.ParseLocation(text)
	if err != nil {
		return nil, nil, err
	}
	r, err := kopia.Open(ctx, location, o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	return r.Snapshots(ctx)
}

// openFolder is a folder that any user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.TempDir(), "drctl-kopia-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// child lists dir in a process of its own: as uid when this process is root, else as this user. Home,
// configuration, cache and temporary folders are an empty folder, which it gives back.
func child(t *testing.T, dir, password string, uid int) (childResult, string) {
	t.Helper()
	folder := openFolder(t)
	program := filepath.Join(folder, "list")
	self, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, self, 0o755))
	home := filepath.Join(folder, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	command := exec.CommandContext(t.Context(), program)
	command.Dir = home
	command.Env = []string{
		childRepository + "=" + dir, "KOPIA_PASSWORD=" + password, "HOME=" + home, "TMPDIR=" + home,
		"XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_DATA_HOME=" + home,
	}
	if os.Getuid() == 0 {
		require.NoError(t, os.Chown(home, uid, uid))
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	require.NoError(t, command.Run(), "%s", stderr.Bytes())
	require.Empty(t, stderr.String(), "Kopia's log must not reach the operator")
	var result childResult
	decoder := json.NewDecoder(&stdout)
	require.NoError(t, decoder.Decode(&result))
	require.False(t, decoder.More(), "nothing else is printed")
	return result, home
}
