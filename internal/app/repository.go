package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/pvc"
	"github.com/drctl/drctl/internal/recovery"
)

// Where the platform keeps the Kopia password. Source: the platform's secrets folder.
const (
	kopiaSecretNamespace = "volsync-system"
	kopiaSecretName      = "kopia-credentials"
	kopiaPasswordKey     = "KOPIA_PASSWORD"
)

// mostPasswordBytes bounds a password file: a longer one is some other file.
const mostPasswordBytes = 4096

// lazyRepository opens the repository when its snapshots are asked for, so that it is read while the
// API answers.
type lazyRepository struct{ app *App }

func (r lazyRepository) Snapshots(ctx context.Context) ([]recovery.Snapshot, recovery.Gaps, error) {
	repository, err := r.app.openRepository(ctx)
	if err != nil {
		return nil, nil, err
	}
	snapshots, gaps, err := repository.Snapshots(ctx)
	return snapshots, gaps, errors.Join(err, repository.Close(ctx))
}

// Contents opens the repository for looking into its snapshots.
func (r lazyRepository) Contents(ctx context.Context) (pvc.Contents, error) {
	repository, err := r.app.openRepository(ctx)
	if err != nil {
		return nil, err
	}
	return repository, nil
}

func (a *App) openRepository(ctx context.Context) (*kopia.Repository, error) {
	places, err := a.places()
	if err != nil {
		return nil, err
	}
	text := places.Repo
	if text == "" {
		if text, err = a.discoverRepository(ctx); err != nil {
			return nil, err
		}
	}
	location, err := kopia.ParseLocation(text)
	if err != nil {
		return nil, err
	}
	a.account.add("Kopia repository "+location.String(), nil)
	ca, err := readCA(places.CAFile)
	if err != nil {
		return nil, err
	}
	return kopia.Open(ctx, location, kopia.Options{
		Password:       a.kopiaPassword,
		CacheDirectory: places.CacheDirectory,
		S3: kopia.S3Options{
			EndpointURL: places.EndpointURL, Region: firstOf(a.getenv("AWS_REGION"), a.getenv("AWS_DEFAULT_REGION")),
			AccessKeyID: a.getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: a.getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: a.getenv("AWS_SESSION_TOKEN"), CABundle: ca,
		},
	})
}

// kopiaPassword looks in the environment, a password file, the cluster and the GitOps tree.
func (a *App) kopiaPassword(ctx context.Context) (string, error) {
	places, err := a.places()
	if err != nil {
		return "", err
	}
	// A password file that was named on the command line is meant more than a variable that may be
	// left from another day.
	if a.settings.PasswordFile == "" {
		if password := a.getenv("KOPIA_PASSWORD"); password != "" {
			return password, nil
		}
	}
	if places.PasswordFile != "" {
		return readPassword(places.PasswordFile)
	}
	secret, err := a.secret(ctx, kopiaSecretNamespace, kopiaSecretName)
	if err != nil {
		return "", &recovery.Problem{
			What: "find the Kopia password", Why: reason(err), Next: "set KOPIA_PASSWORD, or give --password-file FILE", Err: err,
		}
	}
	password := string(secret[kopiaPasswordKey])
	if password == "" {
		return "", &recovery.Problem{
			What: "find the Kopia password", Why: fmt.Sprintf("Secret %s/%s has no key %s", kopiaSecretNamespace, kopiaSecretName, kopiaPasswordKey),
			Next: "set KOPIA_PASSWORD, or give --password-file FILE", Err: recovery.ErrNotFound,
		}
	}
	return password, nil
}

func reason(err error) string {
	var p *recovery.Problem
	if errors.As(err, &p) {
		if p.Why != "" {
			return p.What + ": " + p.Why
		}
		return p.What
	}
	return err.Error()
}

// readPassword reads a password file; one line break at its end is not part of the password.
func readPassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", &recovery.Problem{What: "read the password file " + path, Why: err.Error(), Next: "correct --password-file, or set KOPIA_PASSWORD", Err: err}
	}
	password := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if password == "" || len(content) > mostPasswordBytes {
		return "", &recovery.Problem{
			What: "read the password file " + path, Why: fmt.Sprintf("it has %d bytes, which is no password", len(content)),
			Next: "give the file that holds the Kopia password alone", Err: recovery.ErrUsage,
		}
	}
	return password, nil
}

func readCA(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	bundle, err := os.ReadFile(path)
	if err != nil {
		return nil, &recovery.Problem{What: "read the CA bundle " + path, Why: err.Error(), Next: "correct --ca-file", Err: err}
	}
	return bundle, nil
}

// secret reads a Secret from the cluster, or from the GitOps tree when there is no cluster.
func (a *App) secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	if a.secrets != nil {
		if values, err := a.secrets(ctx, namespace, name); err != nil || values != nil {
			return values, err
		}
	}
	values, err := a.ownSecret(ctx, namespace, name)
	if err != nil && a.fallback != nil {
		if live, liveErr := a.fallback.ownSecret(ctx, namespace, name); liveErr == nil {
			return live, nil
		}
	}
	return values, err
}

func (a *App) ownSecret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	objects, _, err := a.objects()
	switch {
	case err != nil:
		return nil, err
	case objects.live != nil:
		return objects.live.Secret(ctx, namespace, name)
	case objects.tree != nil:
		return objects.tree.Secret(ctx, namespace, name)
	}
	return nil, &recovery.Problem{What: fmt.Sprintf("read Secret %s/%s", namespace, name), Why: "neither a cluster nor a GitOps tree is known", Err: recovery.ErrNotFound}
}
