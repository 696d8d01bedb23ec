package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// offerManager puts the operator's own program where its image has it for each architecture: the operator
// compares it with what runs in a Pod, and replaces that if it differs.
// Source: cloudnative-pg pkg/utils/discovery.go DetectAvailableArchitectures.
func offerManager(dir, program string) error {
	folder := filepath.Join(dir, "operator")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("lab: program of CNPG: %w", err)
	}
	if err := os.Symlink(program, filepath.Join(folder, "manager_"+runtime.GOARCH)); err != nil {
		return fmt.Errorf("lab: program of CNPG: %w", err)
	}
	return nil
}
