package live

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/kube"
)

const (
	// container is the mover's. Source: perfectra1n/volsync internal/controller/mover/kopia/mover.go.
	container = "kopia"
	// jobLabel and oldJobLabel name the Job of a Pod.
	jobLabel, oldJobLabel = "batch.kubernetes.io/job-name", "job-name"
	// Of a log that is long its beginning and its end are kept: the one names the snapshot, the other says
	// what became of it.
	firstLines, lastLines, mostLineBytes = 500, 1500, 4 << 10
	// settles is how long the end of a log is waited for.
	settles = 3 * time.Second
)

// logs keeps what the movers' Pods said. VolSync deletes a Job, and with it the Pod, as soon as the run is
// complete; which snapshot was restored stands nowhere else.
type logs struct {
	client *kube.Client
	life   context.Context

	mu sync.Mutex
	// jobs are those that are attended to, as NAMESPACE/NAME.
	jobs map[string]bool
	pods map[string]*podLog // by UID
	// newest is the UID of the Pod of a Job that was created last.
	newest map[string]string
}

// podLog is one Pod's.
type podLog struct {
	created time.Time

	mu        sync.Mutex
	following chan struct{} // closed at the stream's end, nil when there is none
	heard     heard
	// before is what an earlier stream had heard.
	before heard
	// whole is true once the container's end was read.
	whole bool
}

// heard are the lines of one stream.
type heard struct{ first, last []string }

func (h *heard) add(line string) {
	line = line[max(0, len(line)-mostLineBytes):]
	switch {
	case len(h.first) < firstLines:
		h.first = append(h.first, line)
	case len(h.last) < lastLines:
		h.last = append(h.last, line)
	default:
		h.last = append(h.last[1:], line)
	}
}

func (h *heard) text() string { return strings.Join(append(slices.Clone(h.first), h.last...), "\n") }

func newLogs(ctx context.Context, client *kube.Client) *logs {
	return &logs{client: client, life: ctx, jobs: map[string]bool{}, pods: map[string]*podLog{}, newest: map[string]string{}}
}

// attend follows the Pods of a Job of drctl's own: those that are there, and those that come.
func (m *Movers) attend(ctx context.Context, namespace, job string) error {
	m.logs.mu.Lock()
	m.logs.jobs[namespace+"/"+job] = true
	m.logs.mu.Unlock()
	pods, err := m.looks.List(ctx, core("pods"), namespace)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		m.logs.notice(pod)
	}
	return nil
}

// notice follows a Pod of a Job that is attended to, once its container runs.
func (l *logs) notice(pod *unstructured.Unstructured) {
	labels := pod.GetLabels()
	job := labels[jobLabel]
	if job == "" {
		job = labels[oldJobLabel]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if job == "" || !l.jobs[pod.GetNamespace()+"/"+job] {
		return
	}
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	if phase == "Running" || phase == "Succeeded" || phase == "Failed" {
		l.follow(pod.GetNamespace()+"/"+job, pod)
	}
}

// MoverLog is what the Job's newest Pod said, as far as drctl was there to hear it: also after the Pod is
// gone. It is empty when nothing was heard. While the Pod runs, it waits a moment for its end.
func (m *Movers) MoverLog(ctx context.Context, namespace, job string) (string, error) {
	if err := m.attend(ctx, namespace, job); err != nil {
		return "", err
	}
	return m.logs.read(ctx, namespace+"/"+job)
}

// follow begins to listen, unless it does; the lock is held.
func (l *logs) follow(key string, pod *unstructured.Unstructured) {
	uid := string(pod.GetUID())
	log := l.pods[uid]
	if log == nil {
		log = &podLog{created: pod.GetCreationTimestamp().Time}
		l.pods[uid] = log
		if last := l.pods[l.newest[key]]; last == nil || !log.created.Before(last.created) {
			l.newest[key] = uid
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.following != nil || log.whole {
		return
	}
	log.following = make(chan struct{})
	log.before, log.heard = log.heard, heard{} // a stream begins at the log's beginning
	go l.listen(pod.GetNamespace(), pod.GetName(), log)
}

// listen keeps what the Pod says. A stream that breaks off is begun again at the next look.
func (l *logs) listen(namespace, pod string, log *podLog) {
	err := l.client.FollowLog(l.life, namespace, pod, container, func(line string) {
		log.mu.Lock()
		defer log.mu.Unlock()
		log.heard.add(line)
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	log.whole = err == nil
	if !log.whole && len(log.heard.first)+len(log.heard.last) < len(log.before.first)+len(log.before.last) {
		log.heard = log.before // the Pod is gone: the earlier stream had more of it
	}
	close(log.following)
	log.following = nil
}

func (l *logs) read(ctx context.Context, key string) (string, error) {
	l.mu.Lock()
	log := l.pods[l.newest[key]]
	l.mu.Unlock()
	if log == nil {
		return "", nil
	}
	log.mu.Lock()
	end := log.following
	log.mu.Unlock()
	if end != nil {
		timer := time.NewTimer(settles)
		defer timer.Stop()
		select {
		case <-end:
		case <-timer.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	return log.heard.text(), nil
}
