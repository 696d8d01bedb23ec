package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// Part names a program that a nested module below internal/lab/parts builds. The value is the
// module's folder, unless the module builds several.
type Part string

// The parts that can be built.
const (
	ControlPlane Part = "controlplane"
	MinIOServer  Part = "minio"
	KopiaCLI     Part = "kopia"
	CNPGManager  Part = "cnpg"

	KyvernoAdmission  Part = "kyverno-admission"
	KyvernoBackground Part = "kyverno-background"
)

// kyvernoModule is the folder that both of Kyverno's programs are built from. They are two because
// neither can be imported; what they share is compiled once.
const kyvernoModule = "kyverno"

// kubernetesVersion is what the control plane calls itself: without it the server reports a version
// that Helm and kubectl cannot parse. It follows parts/controlplane/go.mod.
const (
	kubernetesVersion = "v1.37.2"
	kubernetesMajor   = "1"
	kubernetesMinor   = "37"
)

type recipe struct {
	packagePath string
	ldflags     string
	// cold is how long a build from nothing took on two cores, for the operator who waits.
	cold time.Duration
	// module is the nested module's folder.
	module string
}

func recipeOf(part Part) (recipe, error) {
	switch part {
	case ControlPlane:
		version := "k8s.io/component-base/version."
		return recipe{".", "-s -w -X " + version + "gitVersion=" + kubernetesVersion + " -X " + version + "gitMajor=" + kubernetesMajor +
			" -X " + version + "gitMinor=" + kubernetesMinor, 8 * time.Minute, string(part)}, nil
	case MinIOServer:
		return recipe{"github.com/minio/minio", "-s -w", 4 * time.Minute, string(part)}, nil
	case KopiaCLI:
		return recipe{"github.com/kopia/kopia", "-s -w", 3 * time.Minute, string(part)}, nil
	case CNPGManager:
		return recipe{"github.com/cloudnative-pg/cloudnative-pg/cmd/manager", "-s -w", 3 * time.Minute, string(part)}, nil
	case KyvernoAdmission:
		return recipe{"github.com/kyverno/kyverno/cmd/kyverno", "-s -w", 8 * time.Minute, kyvernoModule}, nil
	case KyvernoBackground:
		return recipe{"github.com/kyverno/kyverno/cmd/background-controller", "-s -w", time.Minute, kyvernoModule}, nil
	}
	return recipe{}, fmt.Errorf("lab: no part is called %q", part)
}

// Parts lists every part, the slowest to build first.
func Parts() []Part {
	return []Part{ControlPlane, KyvernoAdmission, KyvernoBackground, MinIOServer, KopiaCLI, CNPGManager}
}

// Build gives the path of the part's program. It is built when there is none for the present content
// of its module and this Go version; a second process that wants the same part waits for the first.
// Programs are kept in $DRCTL_LAB_BIN, or in drctl-lab below the user's cache folder.
func Build(ctx context.Context, part Part, logf func(string, ...any)) (string, error) {
	how, err := recipeOf(part)
	if err != nil {
		return "", err
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "internal", "lab", "parts", how.module)
	key, err := contentKey(source, how)
	if err != nil {
		return "", fmt.Errorf("lab: key of part %s: %w", part, err)
	}
	folder, err := binFolder()
	if err != nil {
		return "", err
	}
	target := filepath.Join(folder, string(part)+"-"+key)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	lock := flock.New(target + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return "", fmt.Errorf("lab: wait for another build of %s: %w", part, err)
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	return target, compile(ctx, part, how, source, target, logf)
}

func compile(ctx context.Context, part Part, how recipe, source, target string, logf func(string, ...any)) error {
	logf("building %s (about %s from cold on two cores)", part, how.cold)
	begin := time.Now()
	partial := target + ".partial"
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", how.ldflags, "-o", partial, how.packagePath)
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: build %s: %w\n%s", part, err, out)
	}
	if err := os.Rename(partial, target); err != nil {
		return fmt.Errorf("lab: keep %s: %w", part, err)
	}
	logf("built %s in %s", part, time.Since(begin).Round(time.Second))
	return nil
}

// contentKey changes with each file of the nested module, the recipe, and the Go version.
func contentKey(source string, how recipe) (string, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, _ = fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH, how.packagePath, how.ldflags)
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		if err := hashFile(sum, filepath.Join(source, entry.Name())); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

func hashFile(into io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, _ = fmt.Fprintln(into, filepath.Base(path))
	_, err = io.Copy(into, file)
	return err
}

func binFolder() (string, error) {
	folder := os.Getenv("DRCTL_LAB_BIN")
	if folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("lab: where to keep built programs: %w (set DRCTL_LAB_BIN)", err)
		}
		folder = filepath.Join(cache, "drctl-lab")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("lab: folder for built programs: %w", err)
	}
	return folder, nil
}

// ModuleRoot is the folder of drctl's go.mod, at or above the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "internal", "lab", "parts")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("lab: run it inside the drctl checkout: no internal/lab/parts at or above the working directory")
		}
		dir = parent
	}
}
