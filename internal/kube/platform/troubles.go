package platform

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/drctl/drctl/internal/recovery"
)

// atOnce is up to how many namespaces are listed one by one: above it a kind is listed once for the whole cluster.
const atOnce = 2

// patience is how long something may be on its way before it is called a trouble, where nothing says that it is one:
// a Pod that is not ready, a claim that waits for its driver.
const patience = 30 * time.Second

// situation is what stands in some namespaces at one moment.
type situation struct {
	now    time.Time
	pods   []corev1.Pod
	claims []corev1.PersistentVolumeClaim
	jobs   []batchv1.Job
	// events are by "Kind namespace/name", the newest first.
	events map[string][]corev1.Event
	found  []recovery.Trouble
}

// Troubles are what holds Pods, claims and Jobs of these namespaces back, by object. What is on its way without any
// complaint is none for half a minute.
func (a *API) Troubles(ctx context.Context, namespaces []string) ([]recovery.Trouble, error) {
	if len(namespaces) == 0 {
		return []recovery.Trouble{}, nil
	}
	s := &situation{now: a.now(), found: []recovery.Trouble{}}
	if err := a.look(ctx, s, namespaces); err != nil {
		return nil, err
	}
	for i := range s.pods {
		s.pod(&s.pods[i])
	}
	for i := range s.claims {
		s.claim(&s.claims[i])
	}
	for i := range s.jobs {
		s.job(&s.jobs[i])
	}
	if err := a.creations(ctx, s); err != nil {
		return nil, err
	}
	slices.SortStableFunc(s.found, func(x, y recovery.Trouble) int {
		return cmp.Or(strings.Compare(x.Object, y.Object), strings.Compare(string(x.Kind), string(y.Kind)))
	})
	return slices.Compact(s.found), nil
}

// look reads four kinds.
func (a *API) look(ctx context.Context, s *situation, namespaces []string) error {
	var err error
	if s.pods, err = inNamespaces[corev1.Pod](ctx, a, core("pods"), namespaces); err != nil {
		return err
	}
	if s.claims, err = inNamespaces[corev1.PersistentVolumeClaim](ctx, a, core("persistentvolumeclaims"), namespaces); err != nil {
		return err
	}
	if s.jobs, err = inNamespaces[batchv1.Job](ctx, a, gvr{Group: "batch", Version: "v1", Resource: "jobs"}, namespaces); err != nil {
		return err
	}
	events, err := inNamespaces[corev1.Event](ctx, a, core("events"), namespaces)
	if err != nil {
		return err
	}
	slices.SortStableFunc(events, func(x, y corev1.Event) int { return lastSeen(&y).Compare(lastSeen(&x)) })
	s.events = map[string][]corev1.Event{}
	for _, event := range events {
		key := event.InvolvedObject.Kind + " " + event.InvolvedObject.Namespace + "/" + event.InvolvedObject.Name
		s.events[key] = append(s.events[key], event)
	}
	return nil
}

// inNamespaces lists a kind in some namespaces.
func inNamespaces[T any](ctx context.Context, a *API, kind gvr, namespaces []string) ([]T, error) {
	wanted, ask := slices.Compact(slices.Sorted(slices.Values(namespaces))), []string{""}
	if len(wanted) <= atOnce {
		ask = wanted
	}
	var items []unstructured.Unstructured
	for _, namespace := range ask {
		page, err := a.client.ListWhere(ctx, kind, namespace, "")
		if err != nil {
			return nil, err
		}
		for i := range page {
			if _, asked := slices.BinarySearch(wanted, page[i].GetNamespace()); asked {
				items = append(items, page[i])
			}
		}
	}
	return readAll[T](items)
}

// lastSeen is when an event happened last: who writes events.k8s.io sets eventTime and series, who writes the older
// kind lastTimestamp.
func lastSeen(event *corev1.Event) time.Time {
	switch {
	case event.Series != nil && !event.Series.LastObservedTime.IsZero():
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	case !event.EventTime.IsZero():
		return event.EventTime.Time
	}
	return event.CreationTimestamp.Time
}

// of are the events about one object, and not about a former one of its name; the newest first.
func (s *situation) of(kind, namespace, name string, uid string) []corev1.Event {
	return slices.DeleteFunc(slices.Clone(s.events[kind+" "+namespace+"/"+name]), func(event corev1.Event) bool {
		return event.InvolvedObject.UID != "" && uid != "" && string(event.InvolvedObject.UID) != uid
	})
}

// newest is the newest event with one of these reasons, nil when there is none.
func newest(events []corev1.Event, reasons ...string) *corev1.Event {
	for i := range events {
		if slices.Contains(reasons, events[i].Reason) {
			return &events[i]
		}
	}
	return nil
}

// newestWarning is the newest warning, nil when there is none.
func newestWarning(events []corev1.Event) *corev1.Event {
	for i := range events {
		if events[i].Type == corev1.EventTypeWarning {
			return &events[i]
		}
	}
	return nil
}

func (s *situation) add(kind recovery.TroubleKind, object, message, missing string) {
	s.found = append(s.found, recovery.Trouble{Kind: kind, Object: object, Message: strings.Join(strings.Fields(message), " "), Missing: missing})
}

// claim: one that is not bound, unless it rightly waits for a Pod to use it.
func (s *situation) claim(claim *corev1.PersistentVolumeClaim) {
	object := "PersistentVolumeClaim " + claim.Namespace + "/" + claim.Name
	events := s.of("PersistentVolumeClaim", claim.Namespace, claim.Name, string(claim.UID))
	switch {
	case claim.Status.Phase == corev1.ClaimLost:
		s.add(recovery.TroublePending, object, "its volume "+claim.Spec.VolumeName+" is gone", "")
	case claim.Status.Phase != corev1.ClaimPending || claim.DeletionTimestamp != nil:
	case newestWarning(events) != nil && !waitsForConsumer(events):
		warning := newestWarning(events)
		s.add(recovery.TroublePending, object, said(warning.Reason, warning.Message), "")
	case s.now.Sub(claim.CreationTimestamp.Time) < patience || waitsForConsumer(events):
	case len(events) > 0:
		s.add(recovery.TroublePending, object, said(events[0].Reason, events[0].Message), "")
	default:
		s.add(recovery.TroublePending, object, "it is Pending, and no event says why", "")
	}
}

// waitsForConsumer: the newest event says that the claim is bound once a Pod uses it. The Pod is what is looked at.
// Source: Kubernetes pkg/controller/volume/events/event.go.
func waitsForConsumer(events []corev1.Event) bool {
	return len(events) > 0 && (events[0].Reason == "WaitForFirstConsumer" || events[0].Reason == "WaitForPodScheduled")
}

// job: one that has failed for good. As long as it tries again, its Pods tell.
func (s *situation) job(job *batchv1.Job) {
	for _, condition := range job.Status.Conditions {
		if condition.Type == batchv1.JobFailed && condition.Status == corev1.ConditionTrue && job.DeletionTimestamp == nil {
			s.add(recovery.TroubleJob, "Job "+job.Namespace+"/"+job.Name, said(condition.Reason, condition.Message), "")
		}
	}
}
