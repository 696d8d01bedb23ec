package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob/filesystem"
	"github.com/kopia/kopia/repo/maintenance"
)

// inNewRepository makes a filesystem repository in dir as `kopia repository create` does, and lets use
// work on it. Configuration and cache live in a folder that is removed afterwards; one open pays for
// the key derivation.
func inNewRepository(ctx context.Context, dir, password string, use func(context.Context, repo.Repository) error) (err error) {
	local, err := os.MkdirTemp("", "drctl-kopia-")
	if err != nil {
		return fmt.Errorf("lab: folder of Kopia's configuration: %w", err)
	}
	defer func() { _ = os.RemoveAll(local) }()
	repository, err := createRepository(ctx, dir, password, filepath.Join(local, "repository.config"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repository.Close(ctx)) }()
	if err := repo.WriteSession(ctx, repository, repo.WriteSessionOptions{Purpose: "create"}, populateRepository); err != nil {
		return fmt.Errorf("lab: defaults of the Kopia repository: %w", err)
	}
	return use(ctx, repository)
}

func createRepository(ctx context.Context, dir, password, config string) (repo.Repository, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lab: folder of the Kopia repository: %w", err)
	}
	storage, err := filesystem.New(ctx, &filesystem.Options{Path: dir}, true)
	if err != nil {
		return nil, fmt.Errorf("lab: storage of the Kopia repository: %w", err)
	}
	if err := repo.Initialize(ctx, storage, &repo.NewRepositoryOptions{}, password); err != nil {
		return nil, fmt.Errorf("lab: create the Kopia repository: %w", err)
	}
	options := &repo.ConnectOptions{ClientOptions: repo.ClientOptions{Hostname: "lab", Username: "lab"}}
	if err := repo.Connect(ctx, config, storage, password, options); err != nil {
		return nil, fmt.Errorf("lab: connect to the Kopia repository: %w", err)
	}
	if err := storage.Close(ctx); err != nil {
		return nil, fmt.Errorf("lab: storage of the Kopia repository: %w", err)
	}
	repository, err := repo.Open(ctx, config, password, &repo.Options{DisableRepositoryLog: true})
	if err != nil {
		return nil, fmt.Errorf("lab: open the Kopia repository: %w", err)
	}
	return repository, nil
}

// populateRepository writes who is in charge of maintenance, as `kopia repository create` does. That
// also writes a global policy, which is the built-in default and goes without saying.
// Source: kopia cli/command_repository_create.go.
func populateRepository(ctx context.Context, w repo.RepositoryWriter) error {
	parameters := maintenance.DefaultParams()
	parameters.Owner = w.ClientOptions().UsernameAtHost()
	return maintenance.SetParams(ctx, w, &parameters)
}
