package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/lab"
)

// demo shows drctl's main job on real backups. What needs no API server is shown while the cluster
// still builds.
type demo struct {
	lab    *lab.Lab
	stack  *lab.Stack
	drctl  string
	dir    string
	stdout io.Writer
	logf   func(string, ...any)
	begin  time.Time
}

func runDemo(ctx context.Context, stdout io.Writer, logf func(string, ...any)) (err error) {
	dir, err := os.MkdirTemp("", "drctl-demo-")
	if err != nil {
		return err
	}
	d := &demo{stack: lab.NewStack(dir, logf), dir: dir, stdout: stdout, logf: logf, begin: time.Now()}
	defer func() {
		err = errors.Join(err, d.stack.Close(), os.RemoveAll(dir))
		if err == nil {
			d.say("Everything that the demo started has been stopped and removed (%s).", time.Since(d.begin).Round(time.Second))
		}
	}()
	d.say("drctl: what can I get back, and from when? And then: get it back. Real Kopia and Barman backups, a real API server.")
	if err := d.buildDrctl(ctx); err != nil {
		return err
	}
	if d.lab, err = lab.UpStorage(ctx, d.stack); err != nil {
		return err
	}
	cluster := make(chan error, 1)
	go func() { cluster <- d.buildCluster(ctx) }()
	if err := d.nothingLeft(ctx); err != nil {
		return err
	}
	if err := <-cluster; err != nil {
		return err
	}
	if err := d.withCluster(ctx); err != nil {
		return err
	}
	if err := d.restore(ctx); err != nil {
		return err
	}
	if err := d.recovery(ctx); err != nil {
		return err
	}
	return d.bootstrap(ctx)
}

// buildDrctl builds the program that the demo is about.
func (d *demo) buildDrctl(ctx context.Context) error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	d.drctl = filepath.Join(root, "bin", "drctl")
	d.logf("building drctl (about 3 minutes from cold on two cores)")
	build := exec.CommandContext(ctx, "make", "--no-print-directory", "build")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build drctl: %w\n%s", err, out)
	}
	return nil
}

func (d *demo) buildCluster(ctx context.Context) error {
	for _, part := range []lab.Part{lab.ControlPlane, lab.CNPGManager} {
		if _, err := lab.Build(ctx, part, d.logf); err != nil {
			return err
		}
	}
	return nil
}

// nothingLeft is the worst day: only the NFS folder and the bucket are there.
func (d *demo) nothingLeft(ctx context.Context) error {
	d.say("1. The worst day: nothing is left but the Kopia repository and the S3 bucket.")
	p := d.lab.Platform
	for _, args := range []string{
		"pvc list --offline --repo " + d.lab.Repository,
		"cnpg backups --destination-path s3://" + lab.PlatformBucket + "/cnpg/immich --endpoint-url " + p.EndpointURL,
	} {
		if err := d.run(ctx, nil, 0, args); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) withCluster(ctx context.Context) error {
	d.logf("starting etcd, kube-apiserver, controllers and CloudNativePG's webhooks (about 15 s)")
	if err := d.lab.UpCluster(ctx, lab.UpOptions{}); err != nil {
		return err
	}
	online := []string{"KUBECONFIG=" + d.lab.Kubernetes.Kubeconfig, "DRCTL_REPO=" + d.lab.Repository}
	d.say("2. An ordinary day: the cluster is up.")
	for _, args := range []string{"pvc list", "pvc snapshots karakeep/data-pvc", "cnpg list", "cnpg backups immich"} {
		if err := d.run(ctx, online, 0, args); err != nil {
			return err
		}
	}
	d.say("3. The API server is stopped. What drctl cannot know, it does not pretend to know:")
	if err := d.lab.Kubernetes.Stop(); err != nil {
		return err
	}
	if err := d.run(ctx, online, 1, "cnpg list"); err != nil {
		return err
	}
	d.say("The GitOps tree knows what should be there, and the backups answer as before:")
	offline := append(online, "DRCTL_GITOPS="+d.lab.GitOps)
	for _, args := range []string{"pvc list --offline -n karakeep", "pvc snapshots karakeep/data-pvc --offline", "cnpg list --offline", "cnpg backups immich --offline"} {
		if err := d.run(ctx, offline, 0, args); err != nil {
			return err
		}
	}
	return nil
}

// run prints a command and runs it as a person would. Another exit code than the expected one ends
// the demo: what it shows is tested by it.
func (d *demo) run(ctx context.Context, environment []string, want int, args string) error {
	if _, err := fmt.Fprintf(d.stdout, "\n$ drctl %s\n", args); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, d.drctl, strings.Fields(args)...)
	cmd.Stdout, cmd.Stderr = d.stdout, d.stdout
	p := d.lab.Platform
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TERM=" + os.Getenv("TERM"), "CI=" + os.Getenv("CI"), "NO_COLOR=" + os.Getenv("NO_COLOR"), "HOME=" + d.dir,
		"KOPIA_PASSWORD=" + p.KopiaPassword, "AWS_ACCESS_KEY_ID=" + p.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + p.SecretAccessKey,
	}, environment...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		return fmt.Errorf("drctl %s ended with exit code %d, not %d", args, code, want)
	} else if code != 0 {
		_, err = fmt.Fprintf(d.stdout, "(exit code %d)\n", code)
		return err
	}
	return nil
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.stdout, "\n── "+format+"\n", args...)
}
