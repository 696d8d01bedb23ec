// Package flipworld is everything around a database that is recovered, in one piece: the recovery lab, a
// Git remote, the Argo CD stand-in that follows it, and a proxy in front of API server, S3 and Git through
// which drctl goes, so that it can be killed at any request. Its oracle judges what came of it without any
// of drctl's code.
//
// It must not import any package of drctl but lab.
package flipworld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
)

// Options are the choices that Up leaves.
type Options struct {
	// Interval is how long Argo CD takes to see a change; 5 s when zero.
	Interval time.Duration
	// Program is the drctl to run.
	Program string
}

// World is a platform with a database that can be recovered again and again.
type World struct {
	*lab.RecoveryLab
	Remote *lab.GitRemote
	Argo   *lab.ArgoCD
	Proxy  *lab.KillProxy

	program    string
	kubeconfig string
	stack      *lab.Stack
	runs       int
}

// Application is the Argo CD Application that owns the database.
const Application = "immich-database"

// Up starts the world.
func Up(ctx context.Context, s *lab.Stack, o Options) (*World, error) {
	recovery, err := lab.UpRecovery(ctx, s, lab.RecoveryOptions{Users: []string{lab.ReaderUser, lab.NobodyUser}})
	if err != nil {
		return nil, err
	}
	w := &World{RecoveryLab: recovery, program: o.Program, stack: s}
	if err := w.adjust(); err != nil {
		return nil, err
	}
	if w.Remote, err = s.GitRemote(ctx, recovery.GitOpsTree); err != nil {
		return nil, err
	}
	w.Proxy, err = s.KillProxy(lab.Upstreams{API: recovery.Kubernetes.RESTConfig(), S3URL: recovery.MinIO.EndpointURL, GitURL: w.Remote.URL})
	if err != nil {
		return nil, err
	}
	if w.kubeconfig, err = w.Proxy.Kubeconfig(recovery.Kubernetes.RESTConfig()); err != nil {
		return nil, err
	}
	w.Argo, err = s.ArgoCD(ctx, recovery.Kubernetes, w.Remote, lab.ArgoOptions{
		Interval: o.Interval, Retry: lab.ArgoRetry{Limit: 2, Backoff: 500 * time.Millisecond, Factor: 2, MaxBackoff: 2 * time.Second},
	})
	if err != nil {
		return nil, err
	}
	path, err := filepath.Rel(recovery.GitOpsTree, recovery.DatabaseFolder())
	if err != nil {
		return nil, fmt.Errorf("flipworld: %w", err)
	}
	if err := w.Argo.Track(ctx, Application, path, ""); err != nil {
		return nil, err
	}
	return w, w.Settled(ctx)
}

// adjust makes the tree one for tests; Argo CD brings the changes in. The platform's schedule, meant nightly,
// fires two minutes past every hour, in the middle of something that compares the archive with what it was.
// And a base backup waits for a checkpoint that PostgreSQL spreads over a minute.
func (w *World) adjust() error {
	for _, change := range []struct{ file, before, after string }{
		{"scheduled-backup.yaml", `"0 2 * * *"`, `"0 0 2 1 1 *"`},
		{"cluster.yaml", "      data:\n        compression: gzip\n", "      data:\n        compression: gzip\n        immediateCheckpoint: true\n"},
	} {
		path := filepath.Join(w.DatabaseFolder(), change.file)
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("flipworld: %w", err)
		}
		// The last line of a file may have no end.
		text := strings.TrimRight(string(content), "\n") + "\n"
		if !strings.Contains(text, change.before) {
			return fmt.Errorf("flipworld: %s does not have %q", path, change.before)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, change.before, change.after)), 0o600); err != nil {
			return fmt.Errorf("flipworld: %w", err)
		}
	}
	return nil
}

// Settled waits until Argo CD has synced the branch's head.
func (w *World) Settled(ctx context.Context) error {
	head, err := w.Remote.Head(ctx)
	if err != nil {
		return err
	}
	_, err = w.Argo.WaitFor(ctx, Application, func(s lab.ArgoState) bool {
		return s.Sync == "Synced" && s.Revision == head && s.Phase == "Succeeded"
	})
	return err
}

// Operator is a person at a computer: a home folder with drctl's state, and a checkout.
type Operator struct {
	world *World
	Home  string
	Tree  string
	// env replaces or adds variables.
	env []string
}

// NewOperator is a computer on which drctl was never run.
func (w *World) NewOperator(ctx context.Context) (*Operator, error) {
	w.runs++
	home, err := w.stack.Dir(fmt.Sprintf("operator-%d", w.runs))
	if err != nil {
		return nil, err
	}
	o := &Operator{world: w, Home: home, Tree: filepath.Join(home, "platform")}
	return o, w.Remote.Clone(ctx, o.Tree, w.Proxy.GitURL)
}

// With is the operator with more variables.
func (o *Operator) With(env ...string) *Operator {
	more := *o
	more.env = append(append([]string{}, o.env...), env...)
	return &more
}

// Command is drctl, going through the proxy, with nothing of this process's environment but PATH.
func (o *Operator) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, o.world.program, args...)
	cmd.Dir = o.Home
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.Home, "TMPDIR=" + o.Home, "KUBECONFIG=" + o.world.kubeconfig,
		"AWS_ACCESS_KEY_ID=" + o.world.Platform.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + o.world.Platform.SecretAccessKey,
		"DRCTL_ENDPOINT_URL=" + o.world.Proxy.S3URL, "DRCTL_GITOPS=" + o.Tree,
	}, o.env...)
	return cmd
}

// Run runs drctl to its end with nothing in its way.
func (o *Operator) Run(ctx context.Context, args ...string) (lab.ProxiedRun, error) {
	return lab.RunClean(ctx, o.world.Proxy, o.Command(ctx, args...))
}

// Recover is the whole command of a recovery.
func Recover(more ...string) []string {
	return append([]string{"cnpg", "recover", "immich", "--push", "--yes"}, more...)
}

// Plans are the IDs of the plans on this computer.
func (o *Operator) Plans() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(o.Home, ".local", "state", "drctl", "plans"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(o.Home, ".local", "state", "drctl", "plans", entry.Name(), "plan.json")); err == nil {
			ids = append(ids, entry.Name())
		}
	}
	return ids, err
}
