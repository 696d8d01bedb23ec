package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// How often a container is asked whether it is ready: soon while it is not, and then to see that it still
// is. readinessFailures in a row make it unready, as a kubelet's failureThreshold has it.
const (
	unreadyPeriod     = 250 * time.Millisecond
	readyPeriod       = 2 * time.Second
	readinessFailures = 3
)

// runContainers takes the Pod through its life: what it refers to, the first containers in turn, then the
// main one until it ends for good.
func (r *podRunner) runContainers(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	var setup podSetup
	err := r.await(ctx, func() (err error) {
		setup, err = r.setUp(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := r.openSandbox(); err != nil {
		return err
	}
	for i := range r.pod.Spec.InitContainers {
		if err := r.runFirst(ctx, setup, &r.pod.Spec.InitContainers[i]); err != nil {
			return err
		}
	}
	return r.runMain(ctx, setup)
}

// runFirst runs an init container until it succeeds, or the Pod fails with it.
func (r *podRunner) runFirst(ctx context.Context, setup podSetup, spec *corev1.Container) error {
	for {
		c, err := r.launch(setup, spec)
		if err != nil {
			return err
		}
		if err := r.waitEnd(ctx, c); err != nil {
			return err
		}
		code := c.exitCode()
		if code == 0 {
			return nil
		}
		if r.pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			failed := podState{phase: corev1.PodFailed, waiting: "PodInitializing", message: fmt.Sprintf("container %s ended with %d", c.name, code)}
			if err := r.report(ctx, failed); err != nil {
				return err
			}
			return errEnding
		}
		if err := r.pause(ctx, restartPause); err != nil {
			return err
		}
	}
}

// runMain runs the Pod's program. It is started again when it ends and the restart policy says so.
func (r *podRunner) runMain(ctx context.Context, setup podSetup) error {
	spec := &r.pod.Spec.Containers[0]
	state := podState{phase: corev1.PodRunning, initialized: true, ip: r.sandbox.IP}
	for {
		c, err := r.launch(setup, spec)
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.main = c
		r.mu.Unlock()
		state.began, state.ready = c.began, spec.ReadinessProbe == nil
		if err := r.attend(ctx, c, spec, state); err != nil {
			return err
		}
		exit := &containerExit{code: c.exitCode(), began: c.began, ended: time.Now()}
		switch policy := r.pod.Spec.RestartPolicy; {
		case policy == corev1.RestartPolicyNever, policy == corev1.RestartPolicyOnFailure && exit.code == 0:
			state.phase, state.ready, state.exit = corev1.PodSucceeded, false, exit
			if exit.code != 0 {
				state.phase = corev1.PodFailed
			}
			return r.report(ctx, state)
		}
		state.restarts++
		state.last, state.ready = exit, false
		if err := r.report(ctx, state); err != nil {
			return err
		}
		if err := r.pause(ctx, restartPause); err != nil {
			return err
		}
	}
}

func (r *podRunner) launch(setup podSetup, spec *corev1.Container) (*container, error) {
	c, err := r.newContainer(setup, spec)
	if err != nil {
		return nil, err
	}
	return c, c.start(r.sandbox)
}

// waitEnd waits until the container ends by itself. When the Pod is to end, it is stopped first, and the
// answer is errEnding.
func (r *podRunner) waitEnd(ctx context.Context, c *container) error {
	select {
	case <-c.ended:
		return nil
	case <-r.terminating:
		c.stop(r.gracePeriod())
	case <-r.vanished:
		c.kill()
	case <-ctx.Done():
		c.kill()
	}
	return errEnding
}

// attend probes the container while it runs, and reports what changes.
func (r *podRunner) attend(ctx context.Context, c *container, spec *corev1.Container, state podState) error {
	if err := r.report(ctx, state); err != nil {
		c.kill()
		return err
	}
	if spec.ReadinessProbe == nil || spec.ReadinessProbe.HTTPGet == nil {
		return r.waitEnd(ctx, c)
	}
	probing, stop := context.WithCancel(ctx)
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		r.probe(probing, spec.ReadinessProbe.HTTPGet, state)
	}()
	err := r.waitEnd(ctx, c)
	stop()
	<-probed
	return err
}

func (r *podRunner) probe(ctx context.Context, get *corev1.HTTPGetAction, state podState) {
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	url := fmt.Sprintf("%s://%s:%d%s", scheme, r.sandbox.IP, get.Port.IntValue(), get.Path)
	// A kubelet's probes do not check the certificate either.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	client := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	failures := 0
	for {
		period := unreadyPeriod
		if state.ready {
			period = readyPeriod
		}
		select {
		case <-ctx.Done():
			return
		case <-r.terminating:
			return
		case <-time.After(period):
		}
		if answersOK(ctx, client, url) == nil {
			failures = 0
		} else {
			failures++
		}
		ready := failures == 0 || state.ready && failures < readinessFailures
		if ready == state.ready {
			continue
		}
		state.ready = ready
		if r.report(ctx, state) != nil {
			return
		}
	}
}
