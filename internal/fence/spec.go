package fence

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// MarkKey is the annotation that lets an object through, with the plan's ID as value; as a label it
	// stands on the fence itself.
	MarkKey = "drctl.dev/plan"
	// managedByKey and managedByValue stand on everything of drctl's own.
	managedByKey   = "app.kubernetes.io/managed-by"
	managedByValue = "drctl"
	// The annotations that Leftovers reads back.
	kindKey      = "drctl.dev/fence-kind"
	namespaceKey = "drctl.dev/fence-namespace"
	nameKey      = "drctl.dev/fence-name"
	expiresKey   = "drctl.dev/fence-expires"

	namePrefix = "drctl-fence-"
	// podsSuffix ends the name of a fence on Pods. No two plans can meet by it: an ID ends in four letters
	// behind a time of six digits.
	podsSuffix = "-pods"
)

// Spec says what is held back, by whom, and for how long: the creation of one object (GVR, Kind, Name), or
// that of every Pod that mounts a claim (MountsClaim). A plan may have one fence of each.
type Spec struct {
	// PlanID is a DNS-1123 label of at most 40 characters.
	PlanID string
	// Expires is when the fence stops holding anything back, whether it is taken down or not.
	Expires time.Time
	// Namespace is where the object or the Pods live; there are no fences on objects without one.
	Namespace string
	// GVR, Kind and Name are of the one object whose creation is denied unless it carries the mark. They
	// are empty in a fence on Pods.
	GVR  schema.GroupVersionResource
	Kind string
	Name string
	// MountsClaim is a PersistentVolumeClaim: no Pod that mounts it is created unless it carries the mark,
	// whatever asks for it. Pods that are there stay.
	MountsClaim string
	// ExemptJob is a Job of VolSync's whose Pods may mount the claim all the same; empty for none.
	ExemptJob string
}

// PolicyName is the name of the policy and of its binding.
func (s Spec) PolicyName() string {
	if s.onPods() {
		return namePrefix + s.PlanID + podsSuffix
	}
	return namePrefix + s.PlanID
}

func (s Spec) onPods() bool { return s.MountsClaim != "" }

// target names what is held back in messages.
func (s Spec) target() string {
	kind, name := s.described()
	return fmt.Sprintf("%s %s/%s", kind, s.Namespace, name)
}

// resource is that of the objects whose creation is denied.
func (s Spec) resource() schema.GroupVersionResource {
	if s.onPods() {
		return podsResource()
	}
	return s.GVR
}

// selector picks everything that belongs to the plan's fence.
func (s Spec) selector() string {
	return fmt.Sprintf("%s=%s,%s=%s", managedByKey, managedByValue, MarkKey, s.PlanID)
}

func policiesResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
}

func bindingsResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
}

// policy is the manifest of the ValidatingAdmissionPolicy.
//
// The expiry stands in a match condition over the object's creationTimestamp, which the API server has set
// to now before admission, dry run or not: CEL itself has no clock. An error in it denies (failurePolicy
// Fail): no fence may fall by accident.
func (s Spec) policy() *unstructured.Unstructured {
	// A rule on a resource does not match its subresources: a Pod's binding and eviction are CREATEs, too.
	rule := map[string]any{
		"apiGroups": []any{s.resource().Group}, "apiVersions": []any{"*"}, "resources": []any{s.resource().Resource},
		"operations": []any{"CREATE"}, "scope": "Namespaced",
	}
	conditions := []any{condition("not-expired", fmt.Sprintf("timestamp(object.metadata.creationTimestamp) < timestamp('%s')", s.expiry()))}
	held := "this object"
	if s.onPods() {
		// No names: most Pods are created with a generated one.
		conditions = append(conditions, s.podConditions()...)
		held = "Pods that mount claim " + s.MountsClaim
	} else {
		rule["resourceNames"] = []any{s.Name}
	}
	return s.object("ValidatingAdmissionPolicy", map[string]any{
		"failurePolicy":    "Fail",
		"matchConstraints": map[string]any{"resourceRules": []any{rule}},
		"matchConditions":  conditions,
		"validations": []any{map[string]any{
			"expression": entryIs("annotations", MarkKey, s.PlanID),
			"message":    fmt.Sprintf("drctl plan %s holds %s back: drctl plans", s.PlanID, held),
		}},
	})
}

func condition(name, expression string) map[string]any {
	return map[string]any{"name": name, "expression": expression}
}

// entryIs is the CEL expression for a label or annotation that has one value.
func entryIs(field, key, value string) string {
	return fmt.Sprintf("(has(object.metadata.%[1]s) && '%[2]s' in object.metadata.%[1]s && object.metadata.%[1]s['%[2]s'] == '%[3]s')", field, key, value)
}

func (s Spec) binding() *unstructured.Unstructured {
	return s.object("ValidatingAdmissionPolicyBinding", map[string]any{
		"policyName":        s.PolicyName(),
		"validationActions": []any{"Deny"},
		"matchResources": map[string]any{
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": s.Namespace}},
		},
	})
}

// described are the kind and the name that Leftovers gives.
func (s Spec) described() (kind, name string) {
	if s.onPods() {
		return podsTarget, s.MountsClaim
	}
	return s.Kind, s.Name
}

func (s Spec) object(kind string, spec map[string]any) *unstructured.Unstructured {
	targetKind, targetName := s.described()
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": policiesResource().GroupVersion().String(), "kind": kind,
		"metadata": map[string]any{
			"name":   s.PolicyName(),
			"labels": map[string]any{managedByKey: managedByValue, MarkKey: s.PlanID},
			"annotations": map[string]any{
				kindKey: targetKind, namespaceKey: s.Namespace, nameKey: targetName, expiresKey: s.expiry(),
			},
		},
		"spec": spec,
	}}
}

func (s Spec) expiry() string { return s.Expires.UTC().Format(time.RFC3339) }
