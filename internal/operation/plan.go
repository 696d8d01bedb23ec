package operation

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// planKind is the kind that stands in plan.json.
const planKind = "Plan"

const (
	// suffixLength keeps apart plans of one second.
	suffixLength = 4
	// maxIDLength leaves room for a prefix where an ID becomes part of an object's name.
	maxIDLength = 40
)

// Plan is one operation as plain data: everything that another process needs to go on with it. It
// never holds a secret.
type Plan struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// ID is a DNS-1123 label of at most 40 characters; NewID makes one.
	ID string `json:"id"`
	// Operation is the command that made the plan: cnpg-recover.
	Operation string `json:"operation"`
	// Target is the object that the plan is about: cloudnative-pg/immich-database.
	Target string `json:"target"`
	// RecoveryPoint is the ID of the recovery point that is brought back.
	RecoveryPoint string `json:"recoveryPoint"`
	// ClusterUID is the UID of namespace kube-system: a plan is run on no other cluster.
	ClusterUID string `json:"clusterUID"`
	// Server and Context are the API server and the kubeconfig context that the plan was made with.
	Server  string `json:"server"`
	Context string `json:"context"`
	// CreatedBy is user@host.
	CreatedBy    string    `json:"createdBy"`
	CreationTime time.Time `json:"creationTime"`
	// Steps are run in this order, and undone in the opposite one.
	Steps []Step `json:"steps"`
	// Params is the operation's own data.
	Params json.RawMessage `json:"params,omitempty"`
}

// Step is one step of a plan.
type Step struct {
	// ID is unique in the plan.
	ID string `json:"id"`
	// Kind names the Handler.
	Kind string `json:"step"`
	// Title is for people: "delete Cluster cloudnative-pg/immich-database".
	Title string `json:"title"`
	// PointOfNoReturn: once this step may have acted, the plan cannot be aborted any more.
	PointOfNoReturn bool `json:"pointOfNoReturn,omitempty"`
	// Timeout is how long the step may take until it is proven, whole seconds when stored.
	Timeout time.Duration `json:"-"`
}

// storedStep is a Step as it stands in plan.json.
type storedStep struct {
	plainStep
	TimeoutSeconds int64 `json:"timeoutSeconds"`
}

type plainStep Step

// MarshalJSON writes the timeout in seconds, rounded up.
func (s Step) MarshalJSON() ([]byte, error) {
	seconds := int64((s.Timeout + time.Second - 1) / time.Second)
	return json.Marshal(storedStep{plainStep: plainStep(s), TimeoutSeconds: seconds})
}

// UnmarshalJSON reads the timeout in seconds.
func (s *Step) UnmarshalJSON(data []byte) error {
	var stored storedStep
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	*s = Step(stored.plainStep)
	s.Timeout = time.Duration(stored.TimeoutSeconds) * time.Second
	return nil
}

// NewID makes the ID of a new plan: cnpg-recover-20261124-061502-k3x9. A long operation name is cut.
func NewID(operation string, now time.Time) string {
	tail := "-" + now.UTC().Format("20060102-150405") + "-" + strings.ToLower(rand.Text()[:suffixLength])
	if most := maxIDLength - len(tail); len(operation) > most {
		operation = strings.TrimRight(operation[:most], "-")
	}
	return operation + tail
}

// validID holds for a DNS-1123 label that is short enough.
func validID(id string) bool {
	return len(id) <= maxIDLength && regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`).MatchString(id)
}

// Validate checks what the engine relies on. The error names the field.
func (p Plan) Validate() error {
	if p.APIVersion != recovery.APIVersion || p.Kind != planKind {
		return fmt.Errorf("it is %s %s, not %s %s: %w", p.APIVersion, p.Kind, recovery.APIVersion, planKind, recovery.ErrUnsupported)
	}
	if !validID(p.ID) {
		return fmt.Errorf("its id %q is no DNS label of at most %d characters: %w", p.ID, maxIDLength, recovery.ErrDamaged)
	}
	if len(p.Steps) == 0 {
		return fmt.Errorf("it has no steps: %w", recovery.ErrDamaged)
	}
	seen := map[string]bool{}
	for i, step := range p.Steps {
		switch {
		case step.ID == "" || seen[step.ID]:
			return fmt.Errorf("steps[%d] has no id of its own (%q): %w", i, step.ID, recovery.ErrDamaged)
		case step.Kind == "":
			return fmt.Errorf("step %s names no kind: %w", step.ID, recovery.ErrDamaged)
		case step.Timeout <= 0:
			return fmt.Errorf("step %s has no timeout: %w", step.ID, recovery.ErrDamaged)
		}
		seen[step.ID] = true
	}
	return nil
}

// complete fills apiVersion and kind, so that a planner need not know them.
func (p Plan) complete() Plan {
	p.APIVersion, p.Kind = recovery.APIVersion, planKind
	p.CreationTime = p.CreationTime.UTC()
	return p
}
