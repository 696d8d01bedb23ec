package disturb

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/drctl/drctl/internal/lab"
)

// Build builds drctl into dir, with build tags that switch safeguards off (see internal/safeguard), and
// gives its path.
func Build(ctx context.Context, dir string, tags ...string) (string, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, strings.Join(append([]string{"drctl"}, tags...), "-"))
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", strings.Join(tags, ","), "-o", program, "./cmd/drctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("disturb: build drctl: %w\n%s", err, out)
	}
	return program, nil
}
