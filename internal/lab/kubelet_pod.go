package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restartPause is how long the node waits before it starts a container again. A kubelet's pause begins at
// ten seconds and grows; nothing is learnt by waiting for it.
const restartPause = time.Second

// errEnding says that the Pod is to end, or has ended, before it got as far as what was tried.
var errEnding = errors.New("lab: the Pod is ending")

// podRunner is one Pod on the node, from its first sight until its object is gone.
type podRunner struct {
	node *Node
	pod  *corev1.Pod
	dir  string

	// terminating is closed when the Pod's deletion was asked for, vanished when its object is gone.
	terminating, vanished chan struct{}
	once                  [2]sync.Once

	mu      sync.Mutex
	grace   time.Duration
	sandbox *sandbox
	main    *container
	state   podState
}

func (n *Node) newRunner(pod *corev1.Pod) *podRunner {
	return &podRunner{
		node: n, pod: pod, dir: filepath.Join(n.dir, string(pod.UID)),
		terminating: make(chan struct{}), vanished: make(chan struct{}),
	}
}

// terminate begins the graceful end.
func (r *podRunner) terminate(pod *corev1.Pod) {
	grace := 30 * time.Second
	if seconds := pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = time.Duration(*seconds) * time.Second
	}
	r.mu.Lock()
	r.grace = grace
	r.mu.Unlock()
	r.once[0].Do(func() { close(r.terminating) })
}

// forget ends the Pod at once: its object is gone, or the lab ends.
func (r *podRunner) forget() { r.once[1].Do(func() { close(r.vanished) }) }

func (r *podRunner) run(ctx context.Context) {
	defer r.clean()
	work := r.pretend
	if r.isReal() {
		work = r.runContainers
	}
	if err := work(ctx); err != nil && !errors.Is(err, errEnding) && ctx.Err() == nil {
		r.node.stack.Logf("Pod %s/%s: %v", r.pod.Namespace, r.pod.Name, err)
	}
	select {
	case <-r.vanished:
	case <-r.terminating:
		r.removeObject(ctx)
	}
}

// isReal tells the Pods that are run from those that are merely said to: CloudNativePG's own programs, and
// VolSync's movers where the node has their image.
func (r *podRunner) isReal() bool {
	command := r.pod.Spec.Containers[0].Command
	switch {
	case len(command) == 0:
		return false
	case command[0] == managerInPod:
		return r.pod.Labels["cnpg.io/cluster"] != "" && r.node.options.Manager != ""
	case command[0] == moverInPod:
		return r.pod.Labels[createdByLabel] == volsyncCreator && r.node.options.Mover != ""
	}
	return false
}

// managerInPod is where CloudNativePG's first container puts its program for the others.
const managerInPod = "/controller/manager"

// Pods that are merely said to run can be made to go wrong by their image.
const (
	// brokenImages begins the images that no registry has.
	brokenImages = "broken.invalid/"
	// failingImages ends the images whose program fails, in a Pod of a Job.
	failingImages = "-failing"
)

// pretend says what a kubelet would, of a Pod whose image the lab does not have.
func (r *podRunner) pretend(ctx context.Context) error {
	if err := r.await(ctx, func() error { return r.claimsBound(ctx) }); err != nil {
		return err
	}
	image, now := r.pod.Spec.Containers[0].Image, time.Now()
	failing := strings.HasSuffix(image, failingImages)
	if strings.HasPrefix(image, brokenImages) && !failing {
		// Source: kubernetes pkg/kubelet/images/image_manager.go.
		return r.report(ctx, podState{phase: corev1.PodPending, initialized: true, waiting: "ImagePullBackOff", message: fmt.Sprintf("Back-off pulling image %q", image)})
	}
	if owner := metav1.GetControllerOf(r.pod); owner != nil && owner.Kind == "Job" {
		state := podState{phase: corev1.PodSucceeded, initialized: true, exit: &containerExit{began: now, ended: now}}
		if failing {
			state.phase, state.exit.code = corev1.PodFailed, 1
		}
		return r.report(ctx, state)
	}
	return r.report(ctx, podState{phase: corev1.PodRunning, initialized: true, ready: true, began: time.Now(), ip: "127.0.0.1"})
}

// await tries until it works. What is missing is reported as a kubelet reports it, in the container's
// state.
func (r *podRunner) await(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		waiting := podState{phase: corev1.PodPending, waiting: "ContainerCreating"}
		var refused *configError
		if errors.As(err, &refused) {
			waiting.waiting, waiting.message = "CreateContainerConfigError", err.Error()
		}
		if err := r.report(ctx, waiting); err != nil {
			return err
		}
		if err := r.pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// pause waits, but not for a Pod that is to end.
func (r *podRunner) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.terminating:
	case <-r.vanished:
	case <-ctx.Done():
	}
	return errEnding
}

// reach opens a port for a Pod that has its network already.
func (r *podRunner) reach(port int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sandbox == nil {
		return nil
	}
	return r.sandbox.reach(port)
}

// openSandbox gives the Pod its network and opens everything that it may reach.
func (r *podRunner) openSandbox() error {
	var exposed []int
	for _, port := range r.pod.Spec.Containers[0].Ports {
		exposed = append(exposed, int(port.ContainerPort))
	}
	s, err := newSandbox(exposed...)
	if err != nil {
		return err
	}
	// The node's lock first: a port is either in the list already, or Reach finds the sandbox.
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandbox = s
	for _, port := range r.node.reach {
		if err := s.reach(port); err != nil {
			return err
		}
	}
	return nil
}

func (r *podRunner) current() *container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.main
}

// gracePeriod is what the deletion left to the containers.
func (r *podRunner) gracePeriod() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grace
}

// removeObject is a kubelet's last word: nothing of the Pod runs any more.
func (r *podRunner) removeObject(ctx context.Context) {
	now, uid := int64(0), r.pod.UID
	for ctx.Err() == nil {
		err := r.node.client.CoreV1().Pods(r.pod.Namespace).Delete(ctx, r.pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid},
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		select {
		case <-r.vanished:
			return
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (r *podRunner) clean() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sandbox != nil {
		r.sandbox.close()
	}
	if err := os.RemoveAll(r.dir); err != nil {
		r.node.stack.Logf("folder of Pod %s/%s: %v", r.pod.Namespace, r.pod.Name, err)
	}
}

// configError is a container that cannot be made for what its Pod refers to.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }

func (e *configError) Unwrap() error { return e.err }

func missingReference(kind, name string, err error) error {
	return &configError{fmt.Errorf("%s %q: %w", kind, name, err)}
}
