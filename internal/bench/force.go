package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

const (
	// forceClaims is how many claims are restored at once.
	forceClaims = 200
	// forceRounds is how often each side forces all of them.
	forceRounds = 3
	// moverTime is how long each mover works, so that none ends before all have begun.
	moverTime = 10 * time.Second
	// forceGoal is how many times sooner the last of them is accepted.
	forceGoal = 20
	operator  = "operator"
)

// ForceWorks measure how soon VolSync has been told to restore many claims.
func ForceWorks() []Work { return []Work{{Name: "force-restores", Run: runForce}} }

// runForce compares `drctl pvc restore -A` with a loop of `kubectl patch`. The time of both is that until the API
// server has accepted the last of the writes that start a mover. drctl's holds all that it looks at first: the
// repository, the claims, what a restore needs; kubectl's holds nothing but the writes.
func runForce(ctx context.Context, env Env) (rows []Row, err error) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return nil, fmt.Errorf("the anchor of forced restores is kubectl: %w", err)
	}
	stack := lab.NewStack(env.Dir, env.Logf)
	defer func() { err = errors.Join(err, stack.Close()) }()
	f, err := newForced(ctx, stack, env.Drctl)
	if err != nil {
		return nil, err
	}
	var ours, theirs side
	var count int64
	for round := range forceRounds {
		took, requests, err := f.drctl(ctx)
		if err != nil {
			return nil, err
		}
		count = requests
		ours.times = append(ours.times, took)
		env.Logf("drctl: accepted after %s, %d requests until then", took.Round(time.Millisecond), requests)
		if took, err = f.kubectl(ctx, kubectl, round); err != nil {
			return nil, err
		}
		theirs.times = append(theirs.times, took)
		env.Logf("kubectl: accepted after %s", took.Round(time.Millisecond))
	}
	return []Row{{
		Work: fmt.Sprintf("force %d VolSync restores, until the last is accepted", forceClaims), Anchor: "kubectl patch, one after the other",
		Ours: ours.median(), Theirs: theirs.median(), OursCount: count, TheirsCount: -1, CountUnit: "API requests until then",
		GoalRatio: forceGoal, Rounds: forceRounds,
	}}, nil
}

// forced is a cluster with many claims, and an operator who has all rights in it.
type forced struct {
	*lab.LightLab
	program, kubeconfig, home string
}

func newForced(ctx context.Context, stack *lab.Stack, program string) (*forced, error) {
	light, err := lab.UpLight(ctx, stack, lab.LightOptions{
		Users: []string{operator}, Claims: forceClaims, Duration: func(recovery.KopiaSource) time.Duration { return moverTime },
	})
	if err != nil {
		return nil, err
	}
	f := &forced{LightLab: light, program: program}
	if f.home, err = stack.Dir("operator"); err != nil {
		return nil, err
	}
	if f.kubeconfig, err = light.Kubernetes.KubeconfigFor(operator); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(light.Kubernetes.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("bench: client: %w", err)
	}
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: operator}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: operator}},
	}, metav1.CreateOptions{})
	return f, err
}

// drctl restores all claims, and gives how long it took from its start until the last mover's destination was
// accepted, and how many requests came until then.
func (f *forced) drctl(ctx context.Context) (time.Duration, int64, error) {
	mark, err := f.Kubernetes.AuditMark()
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	cmd := exec.CommandContext(ctx, f.program, "pvc", "restore", "-A", "--parallel", fmt.Sprint(forceClaims), "--no-backup", "--yes")
	cmd.Dir = f.home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.home, "TMPDIR=" + f.home, "KUBECONFIG=" + f.kubeconfig,
		"DRCTL_REPO=" + f.Repository, "KOPIA_PASSWORD=" + f.Platform.KopiaPassword,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("bench: %v: %w\n%s", cmd.Args, err, out)
	}
	requests, err := f.Kubernetes.RequestsSince(mark, operator)
	if err != nil {
		return 0, 0, err
	}
	return lastAccepted(begin, requests, "create", "replicationdestinations")
}

// kubectl tells VolSync by hand, claim after claim.
func (f *forced) kubectl(ctx context.Context, program string, round int) (time.Duration, error) {
	mark, err := f.Kubernetes.AuditMark()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for n := range forceClaims {
		namespace, name := f.ClaimOf(n)
		cmd := exec.CommandContext(ctx, program, "patch", "replicationsource", name+"-backup", "-n", namespace, "--type", "merge", "-p",
			fmt.Sprintf(`{"spec":{"trigger":{"manual":"by-hand-%d"}}}`, round))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.home, "KUBECONFIG=" + f.kubeconfig}
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("bench: %v: %w\n%s", cmd.Args, err, out)
		}
	}
	requests, err := f.Kubernetes.RequestsSince(mark, operator)
	if err != nil {
		return 0, err
	}
	took, _, err := lastAccepted(begin, requests, "patch", "replicationsources")
	return took, err
}

// lastAccepted is when the last of the writes was answered, and how many requests had arrived by then. One write a
// claim, neither more nor less, or it is an error.
func lastAccepted(begin time.Time, requests []lab.Request, verb, resource string) (time.Duration, int64, error) {
	accepted := 0
	var last time.Time
	for _, r := range requests {
		if r.Verb != verb || r.Resource != resource || r.Subresource != "" || r.Code >= http.StatusMultipleChoices || strings.Contains(r.URI, "dryRun") {
			continue
		}
		accepted++
		if r.Answered.After(last) {
			last = r.Answered
		}
	}
	if accepted != forceClaims {
		return 0, 0, fmt.Errorf("bench: %d of %d writes were accepted", accepted, forceClaims)
	}
	var count int64
	for _, r := range requests {
		if !r.Received.After(last) {
			count++
		}
	}
	return last.Sub(begin), count, nil
}
