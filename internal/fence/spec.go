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
)

// Spec says what is held back, by whom, and for how long.
type Spec struct {
	// PlanID is a DNS-1123 label of at most 40 characters.
	PlanID string
	// Expires is when the fence stops holding anything back, whether it is taken down or not.
	Expires time.Time
	// GVR and Kind are the object's.
	GVR  schema.GroupVersionResource
	Kind string
	// Namespace and Name are of the one object whose creation is denied unless it carries the mark. The
	// object must live in a namespace.
	Namespace, Name string
}

// PolicyName is the name of the policy and of its binding.
func (s Spec) PolicyName() string { return namePrefix + s.PlanID }

// target names the object in messages.
func (s Spec) target() string { return fmt.Sprintf("%s %s/%s", s.Kind, s.Namespace, s.Name) }

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
	return s.object("ValidatingAdmissionPolicy", map[string]any{
		"failurePolicy": "Fail",
		"matchConstraints": map[string]any{
			"resourceRules": []any{map[string]any{
				"apiGroups": []any{s.GVR.Group}, "apiVersions": []any{"*"}, "resources": []any{s.GVR.Resource},
				"resourceNames": []any{s.Name}, "operations": []any{"CREATE"}, "scope": "Namespaced",
			}},
		},
		"matchConditions": []any{map[string]any{
			"name":       "not-expired",
			"expression": fmt.Sprintf("timestamp(object.metadata.creationTimestamp) < timestamp('%s')", s.expiry()),
		}},
		"validations": []any{map[string]any{
			"expression": fmt.Sprintf("has(object.metadata.annotations) && '%[1]s' in object.metadata.annotations && object.metadata.annotations['%[1]s'] == '%[2]s'",
				MarkKey, s.PlanID),
			"message": fmt.Sprintf("drctl plan %s holds this object back: drctl plans", s.PlanID),
		}},
	})
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

func (s Spec) object(kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": policiesResource().GroupVersion().String(), "kind": kind,
		"metadata": map[string]any{
			"name":   s.PolicyName(),
			"labels": map[string]any{managedByKey: managedByValue, MarkKey: s.PlanID},
			"annotations": map[string]any{
				kindKey: s.Kind, namespaceKey: s.Namespace, nameKey: s.Name, expiresKey: s.expiry(),
			},
		},
		"spec": spec,
	}}
}

func (s Spec) expiry() string { return s.Expires.UTC().Format(time.RFC3339) }
