package lab

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// handler queues whoever an event concerns.
func (v *VolSync) handler() cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: v.see, UpdateFunc: func(_, object any) { v.see(object) }, DeleteFunc: v.see,
	}
}

// see queues an object of VolSync's own kinds, and the owner of one that was made for it.
func (v *VolSync) see(object any) {
	if stale, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = stale.Obj
	}
	seen, ok := object.(metav1.Object)
	if !ok {
		return
	}
	switch kindOf(object) {
	case sourceKind:
		v.enqueue(sourceKind, object)
	case destinationKind:
		v.enqueue(destinationKind, object)
		v.enqueueClaimsFrom(seen)
	case claimKind:
		v.enqueueClaim(object.(*corev1.PersistentVolumeClaim))
	}
	for _, owner := range seen.GetOwnerReferences() {
		if owner.Kind == sourceKind || owner.Kind == destinationKind || owner.Kind == claimKind {
			v.queue.Add(owner.Kind + "/" + seen.GetNamespace() + "/" + owner.Name)
		}
	}
}

func kindOf(object any) string {
	switch typed := object.(type) {
	case *unstructured.Unstructured:
		return typed.GetKind()
	case *corev1.PersistentVolumeClaim:
		return claimKind
	}
	return ""
}

func (v *VolSync) enqueue(kind string, object any) {
	if seen, ok := object.(metav1.Object); ok {
		v.queue.Add(kind + "/" + seen.GetNamespace() + "/" + seen.GetName())
	}
}

// enqueueClaim queues a claim that is to be populated from a ReplicationDestination.
func (v *VolSync) enqueueClaim(claim *corev1.PersistentVolumeClaim) {
	if populatedFrom(claim) != "" {
		v.enqueue(claimKind, claim)
	}
}

// enqueueClaimsFrom queues the claims that wait for a ReplicationDestination.
func (v *VolSync) enqueueClaimsFrom(destination metav1.Object) {
	claims, err := v.claims.PersistentVolumeClaims(destination.GetNamespace()).List(labels.Everything())
	if err != nil {
		return
	}
	for _, claim := range claims {
		if populatedFrom(claim) == destination.GetName() && claim.Spec.VolumeName == "" {
			v.enqueue(claimKind, claim)
		}
	}
}
