package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Kopia is the real command line of Kopia, the peer that drctl is compared with and the maker of
// repositories, with configuration, cache and logs of its own.
type Kopia struct {
	// Path is the program.
	Path string
	// Password opens the repositories that it makes; a canary.
	Password string
	// Home holds configuration, cache and logs.
	Home string
}

// Kopia prepares the Kopia command line.
func (s *Stack) Kopia(ctx context.Context) (*Kopia, error) {
	program, err := Build(ctx, KopiaCLI, s.logf)
	if err != nil {
		return nil, err
	}
	parent, err := s.Dir("kopia")
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp(parent, "home-")
	if err != nil {
		return nil, fmt.Errorf("lab: home of Kopia: %w", err)
	}
	return &Kopia{Path: program, Password: PlatformKopiaPassword, Home: home}, nil
}

// Env is the environment that Run uses.
func (k *Kopia) Env() []string {
	return append(os.Environ(),
		"HOME="+k.Home, "XDG_CONFIG_HOME="+k.Home, "XDG_CACHE_HOME="+filepath.Join(k.Home, "cache"),
		"KOPIA_CONFIG_PATH="+filepath.Join(k.Home, "repository.config"), "KOPIA_CACHE_DIRECTORY="+filepath.Join(k.Home, "cache"),
		"KOPIA_LOG_DIR="+filepath.Join(k.Home, "logs"), "KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_PASSWORD="+k.Password,
	)
}

// Run runs kopia and gives its standard output.
func (k *Kopia) Run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, k.Path, args...)
	cmd.Env = k.Env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("lab: kopia %v: %w\n%s", args, err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// CreateRepository makes a filesystem repository in dir and stays connected to it.
func (k *Kopia) CreateRepository(ctx context.Context, dir string, args ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("lab: folder of the repository: %w", err)
	}
	_, err := k.Run(ctx, append([]string{"repository", "create", "filesystem", "--path", dir}, args...)...)
	return err
}

// Snapshot makes a snapshot of dir under another source, user@host:/path, as a VolSync mover would.
func (k *Kopia) Snapshot(ctx context.Context, source, dir string, args ...string) error {
	_, err := k.Run(ctx, append([]string{"snapshot", "create", "--override-source", source, dir}, args...)...)
	return err
}
