package bootstrapworld

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Operator is a person at a computer: a home folder with drctl's state, a checkout, and the Secrets that nobody else
// has.
type Operator struct {
	world         *World
	Home          string
	Tree, Secrets string
	// env replaces or adds variables.
	env []string
}

// NewOperator is a computer on which drctl was never run.
func (w *World) NewOperator(ctx context.Context) (*Operator, error) {
	w.runs++
	home, err := w.Stack.Dir(fmt.Sprintf("bootstrapper-%d", w.runs))
	if err != nil {
		return nil, err
	}
	o := &Operator{world: w, Home: home, Tree: filepath.Join(home, "platform"), Secrets: filepath.Join(home, "secrets")}
	if err := write("secrets", o.Secrets, strings.NewReplacer("KOPIA_PASSWORD_VALUE", KopiaPassword, "NOTES_TOKEN_VALUE", NotesToken)); err != nil {
		return nil, err
	}
	return o, w.Remote.Clone(ctx, o.Tree, w.Proxy.GitURL)
}

// With is the operator with more variables.
func (o *Operator) With(env ...string) *Operator {
	more := *o
	more.env = append(slices.Clone(o.env), env...)
	return &more
}

// Bootstrap is the whole command.
func (o *Operator) Bootstrap(more ...string) []string {
	return append([]string{"bootstrap", "--gitops", o.Tree, "--secrets", o.Secrets, "--yes", "--timeout", "3m"}, more...)
}

// Command is drctl, going through the proxy, with nothing of this process's environment but PATH.
func (o *Operator) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, o.world.options.Program, args...)
	cmd.Dir = o.Home
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + o.Home, "TMPDIR=" + o.Home, "KUBECONFIG=" + o.world.kubeconfig,
		"DRCTL_REPO=" + o.world.Repository, "KOPIA_PASSWORD=" + KopiaPassword,
	}, o.env...)
	return cmd
}

// Run runs drctl to its end with nothing in its way.
func (o *Operator) Run(ctx context.Context, args ...string) (lab.ProxiedRun, error) {
	return lab.RunClean(ctx, o.world.Proxy, o.Command(ctx, args...))
}

// Plans are the IDs of the plans on this computer.
func (o *Operator) Plans() ([]string, error) {
	plans := filepath.Join(o.Home, ".local", "state", "drctl", "plans")
	entries, err := os.ReadDir(plans)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(plans, entry.Name(), "plan.json")); err == nil {
			ids = append(ids, entry.Name())
		}
	}
	return ids, err
}

// Secrets are the values of this world that must appear in no output, log or error of drctl.
func (w *World) Secrets() []string {
	return append([]string{NotesToken, KopiaPassword, "CANARY-BYSTANDER-20c4", "CANARY-ARGO-SECRET-KEY"}, w.Kubernetes.Secrets()...)
}
