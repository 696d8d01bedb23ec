package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// UpOptions are the choices that Up leaves.
type UpOptions struct {
	// Users get a token each, see ControlPlaneOptions.
	Users []string
}

// Lab is the whole platform of the lab: the backups, and the cluster that made them.
type Lab struct {
	Stack *Stack
	// Platform says what was seeded, and with which secrets.
	Platform Platform
	// MinIO holds the databases' backups in the bucket PlatformBucket.
	MinIO *MinIO
	// Repository is the folder of the claims' Kopia repository.
	Repository string
	// GitOps is the platform's tree with its Secrets readable.
	GitOps string
	// Kubernetes and CNPG are nil until UpCluster.
	Kubernetes *Kubernetes
	CNPG       *CNPG
}

// PlatformKopiaPassword opens the platform's repository; Stack.Kopia uses the same.
const PlatformKopiaPassword = "CANARY-KOPIA-PASSWORD-93b7"

// Up starts the whole lab. It takes as long as its slowest part, the cluster.
func Up(ctx context.Context, s *Stack, o UpOptions) (*Lab, error) {
	l := &Lab{Stack: s}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return l.startStorage(both) })
	group.Go(func() error { return l.startCluster(both, o) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return l, l.seedCluster(ctx)
}

// UpStorage starts what is left when the cluster is gone: the backups and the GitOps tree.
func UpStorage(ctx context.Context, s *Stack) (*Lab, error) {
	l := &Lab{Stack: s}
	return l, l.startStorage(ctx)
}

// UpCluster adds the cluster to a lab of UpStorage.
func (l *Lab) UpCluster(ctx context.Context, o UpOptions) error {
	if err := l.startCluster(ctx, o); err != nil {
		return err
	}
	return l.seedCluster(ctx)
}

func (l *Lab) startStorage(ctx context.Context) error {
	dir, err := l.Stack.Dir("platform")
	if err != nil {
		return err
	}
	l.Repository, l.GitOps = filepath.Join(dir, "repository"), filepath.Join(dir, "gitops")
	seededAt := time.Now().UTC()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return SeedKopia(ctx, l.Repository, PlatformKopiaPassword, seededAt, PlatformClaims())
	})
	group.Go(func() error {
		minio, err := l.Stack.MinIO(ctx)
		if err != nil {
			return err
		}
		l.MinIO = minio
		l.Platform = Platform{
			EndpointURL: minio.EndpointURL, AccessKeyID: minio.AccessKeyID, SecretAccessKey: minio.SecretAccessKey,
			KopiaPassword: PlatformKopiaPassword, NFSServer: "127.0.0.1", NFSPath: l.Repository, SeededAt: seededAt,
		}
		if err := l.Platform.WriteTree(l.GitOps, SecretsPlain); err != nil {
			return err
		}
		return LoadBarmanRecording(ctx, minio, PlatformBucket, "cnpg")
	})
	return group.Wait()
}

// startCluster brings the API up to where manifests can be applied.
func (l *Lab) startCluster(ctx context.Context, o UpOptions) error {
	kubernetes, err := l.Stack.ControlPlane(ctx, ControlPlaneOptions{Users: o.Users, ControllerManager: true, Scheduler: true})
	if err != nil {
		return err
	}
	l.Kubernetes = kubernetes
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return kubernetes.ApplyCRDs(ctx) })
	group.Go(func() (err error) {
		l.CNPG, err = l.Stack.CNPG(ctx, kubernetes)
		return err
	})
	return group.Wait()
}

func (l *Lab) seedCluster(ctx context.Context) error {
	return l.Kubernetes.SeedPlatform(ctx, l.Platform, l.GitOps)
}

// WriteTree writes the GitOps tree once more, with its Secrets in another form.
func (l *Lab) WriteTree(form SecretForm) (string, error) {
	dir, err := l.Stack.Dir(filepath.Join("platform", "gitops-"+string(form)))
	if err != nil {
		return "", err
	}
	return dir, l.Platform.WriteTree(dir, form)
}

// Secrets are all values of the lab that must not appear in any output, log or error of drctl.
func (l *Lab) Secrets() []string {
	secrets := l.Platform.Secrets()
	if l.Kubernetes != nil {
		secrets = append(secrets, l.Kubernetes.Secrets()...)
	}
	return secrets
}

// Environment is what an operator's shell would have: where the cluster and the repository are, and
// what opens the repository and the bucket. Each entry is NAME=value.
func (l *Lab) Environment() []string {
	environment := []string{
		"DRCTL_REPO=" + l.Repository, "KOPIA_PASSWORD=" + l.Platform.KopiaPassword, "DRCTL_GITOPS=" + l.GitOps,
		"AWS_ACCESS_KEY_ID=" + l.Platform.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + l.Platform.SecretAccessKey,
	}
	if l.Kubernetes != nil {
		environment = append(environment, "KUBECONFIG="+l.Kubernetes.Kubeconfig)
	}
	return environment
}

// String names the parts and where they are; no secret is in it.
func (l *Lab) String() string {
	text := fmt.Sprintf("Kopia repository %s\nS3 %s/%s\nGitOps tree %s\n", l.Repository, l.MinIO.EndpointURL, PlatformBucket, l.GitOps)
	if l.Kubernetes != nil {
		text += fmt.Sprintf("Kubernetes API %s\nkubeconfig %s\n", l.Kubernetes.URL, l.Kubernetes.Kubeconfig)
	}
	return text
}
