// Package e2e runs the real drctl binary against the whole lab: the scripts in testdata, and the
// comparisons with the tools that wrote the backups.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

var shared lab.Shared

func TestMain(m *testing.M) { shared.Run(m) }

// binary builds drctl once for all tests of the package.
var binary = sync.OnceValues(func() (string, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "drctl-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "drctl")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "./cmd/drctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// program gives the path of drctl.
func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	return path
}

// result is what a run of drctl gave.
type result struct {
	code           int
	stdout, stderr string
}

// run runs drctl with nothing of this process's environment but PATH, and a home of its own that must
// stay empty. No secret of the lab may show in what it prints.
func run(t *testing.T, l *lab.Lab, environment []string, args ...string) result {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Dir = home
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home}, environment...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	requireNoSecret(t, l, stdout.String()+stderr.String())
	left, err := os.ReadDir(home)
	require.NoError(t, err)
	require.Empty(t, left, "drctl left something behind")
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func requireNoSecret(t *testing.T, l *lab.Lab, text string) {
	t.Helper()
	for _, secret := range l.Secrets() {
		require.NotContains(t, text, secret, "a secret of the lab shows")
	}
}

// scripts runs a folder of testscripts. `drctl ARGS` expects success, `exits N ARGS` that exit code.
func scripts(t *testing.T, l *lab.Lab, dir string) {
	path := program(t)
	reader, err := l.Kubernetes.KubeconfigFor(lab.ReaderUser)
	require.NoError(t, err)
	nobody, err := l.Kubernetes.KubeconfigFor(lab.NobodyUser)
	require.NoError(t, err)
	trees := map[string]string{}
	for _, form := range lab.SecretForms() {
		tree, err := l.WriteTree(form)
		require.NoError(t, err)
		trees["TREE_"+strings.ToUpper(string(form))] = tree
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, ContinueOnError: true,
		Setup: func(env *testscript.Env) error {
			for _, variable := range l.Environment() {
				name, value, _ := strings.Cut(variable, "=")
				env.Setenv(name, value)
			}
			env.Setenv("READER_KUBECONFIG", reader)
			env.Setenv("NOBODY_KUBECONFIG", nobody)
			env.Setenv("ENDPOINT", l.MinIO.EndpointURL)
			env.Setenv("BUCKET", lab.PlatformBucket)
			for name, tree := range trees {
				env.Setenv(name, tree)
			}
			env.Defer(func() { requireNoSecretLeft(env.T(), l, env.WorkDir) })
			return os.Symlink(path, filepath.Join(env.WorkDir, "kubectl-dr"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"drctl": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("say which exit code is expected: exits N ARGS")
				}
				expect(ts, l, path, "0", args)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) { expect(ts, l, path, args[0], args[1:]) },
		},
	})
}

// requireNoSecretLeft looks for the lab's secrets in every file that a script leaves in its folder.
func requireNoSecretLeft(t testscript.T, l *lab.Lab, dir string) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, secret := range l.Secrets() {
			if bytes.Contains(content, []byte(secret)) {
				return fmt.Errorf("a secret of the lab stands in %s", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func expect(ts *testscript.TestScript, l *lab.Lab, path, code string, args []string) {
	got := "0"
	if err := ts.Exec(path, args...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run drctl: %v", err)
		}
		got = strings.TrimPrefix(exit.String(), "exit status ")
	}
	printed := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	for _, secret := range l.Secrets() {
		if strings.Contains(printed, secret) {
			ts.Fatalf("a secret of the lab shows in what drctl %v printed", args)
		}
	}
	if got != code {
		ts.Fatalf("drctl %s ended with exit code %s, not %s:\n%s", strings.Join(args, " "), got, code, printed)
	}
}

func TestWithTheClusterUp(t *testing.T) {
	l := shared.Lab(t)
	require.NoError(t, l.GrantRead(t.Context(), lab.ReaderUser))
	scripts(t, l, filepath.Join("testdata", "up"))
}

// TestWithTheAPIServerStopped stops the API server and starts it again for the tests that follow.
func TestWithTheAPIServerStopped(t *testing.T) {
	l := shared.Lab(t)
	before := answers(t, l)
	require.NoError(t, l.Kubernetes.Stop())
	t.Cleanup(func() { require.NoError(t, l.Kubernetes.Restart(context.WithoutCancel(t.Context()))) })
	t.Run("scripts", func(t *testing.T) { scripts(t, l, filepath.Join("testdata", "stopped")) })
	t.Run("the same two answers", func(t *testing.T) {
		after := answers(t, l)
		require.Equal(t, before.snapshots, after.snapshots)
		require.JSONEq(t, before.backups, after.backups)
	})
}

type twoAnswers struct{ snapshots, backups string }

// answers are the two that must come with the API server stopped as well.
func answers(t *testing.T, l *lab.Lab) twoAnswers {
	t.Helper()
	snapshots := run(t, l, l.Environment(), "pvc", "snapshots", "-A", "--incomplete", "-o", "json")
	require.Zero(t, snapshots.code, snapshots.stderr)
	backups := run(t, l, l.Environment(), "cnpg", "backups", "immich", "--offline", "-o", "json")
	require.Zero(t, backups.code, backups.stderr)
	return twoAnswers{snapshots.stdout, backups.stdout}
}
