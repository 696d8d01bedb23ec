package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Operation is that of the plans that are made here.
const Operation = "bootstrap"

// Params is the plan's own data: everything that another process needs in order to go on. It holds no values, which
// may be secret: neither the chart's nor those of Secrets. They are read anew, and their digest tells whether they
// are those that the plan was made with.
type Params struct {
	Namespace string               `json:"namespace"`
	Release   string               `json:"release"`
	Chart     recovery.ChartSource `json:"chart"`
	// Version and Digest are those of the chart as it was read.
	Version string `json:"version"`
	Digest  string `json:"digest"`
	// Pin is how the tree names the chart, nil when it does not; ValuesFiles go on top of the pin's.
	Pin          *recovery.ChartPin `json:"pin,omitempty"`
	ValuesFiles  []string           `json:"valuesFiles"`
	ValuesDigest string             `json:"valuesDigest"`
	// TakeOwnership adopts objects that are there already.
	TakeOwnership bool `json:"takeOwnership,omitempty"`
	// SecretsDir holds the Secrets, each named below.
	SecretsDir     string   `json:"secretsDir,omitempty"`
	Secrets        []string `json:"secrets"`
	ReplaceSecrets bool     `json:"replaceSecrets,omitempty"`
	// Root is the manifest of the root Application, RootFile where it stands in the tree.
	Root     json.RawMessage `json:"root"`
	RootFile string          `json:"rootFile"`
	RootName string          `json:"rootName"`
	// Applications are those that the tree makes, as far as that could be told.
	Applications []recovery.PlannedApplication `json:"applications"`
	// GitOps is the folder of the tree.
	GitOps string `json:"gitOps"`

	ReadySeconds int64 `json:"readySeconds"`
	WavesSeconds int64 `json:"wavesSeconds"`
}

// ParamsOf reads a plan's own data.
func ParamsOf(plan *operation.Plan) (*Params, error) {
	var p Params
	if plan.Operation != Operation {
		return nil, &recovery.Problem{What: "plan " + plan.ID + " is a " + plan.Operation, Why: "not a " + Operation, Err: recovery.ErrUsage}
	}
	if err := json.Unmarshal(plan.Params, &p); err != nil {
		return nil, &recovery.Problem{What: "read plan " + plan.ID, Why: err.Error(), Next: "look at the files below drctl's state folder", Err: recovery.ErrDamaged}
	}
	return &p, nil
}

func digestOf(values []byte) string {
	sum := sha256.Sum256(values)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// The kinds of steps.
const (
	stepSecrets     = "apply-secrets"
	stepDefinitions = "definitions"
	stepChart       = "install-chart"
	stepReady       = "wait-ready"
	stepRoot        = "apply-root"
	stepWaves       = "watch-waves"
)

// The facts that steps leave for later ones.
const (
	// factPrevious is the revision to go back to, 0 when there was no release.
	factPrevious    = "previousRevision"
	factDefinitions = "definitions"
	// factUntil is when the waves are not waited for any longer.
	factUntil = "wavesUntil"
	// FactUnhealthy are the Applications that were not at rest then, by name, with commas.
	FactUnhealthy = "unhealthy"
	// FactReady is when Argo CD was ready, FactHealthy when everything was.
	FactReady   = "readyAt"
	FactHealthy = "healthyAt"
)

// How long the steps may take until they are proven.
const (
	soon = 5 * time.Minute
	// chartTime is for hooks that pull images on a new node.
	chartTime = 15 * time.Minute
	// wavesGrace is what the waves' step has beyond its own deadline, to say how it ended.
	wavesGrace = 10 * time.Minute
)

// plannedSteps is the whole order in one place. What does not apply is left out.
func (p *Params) plannedSteps() []operation.Step {
	var steps []operation.Step
	add := func(kind, title string, timeout time.Duration) {
		steps = append(steps, operation.Step{ID: kind, Kind: kind, Title: title, Timeout: timeout, PointOfNoReturn: kind == stepRoot})
	}
	if n := len(p.Secrets); n > 0 {
		title := fmt.Sprintf("apply %d Secrets of %s", n, p.SecretsDir)
		if n == 1 {
			title = "apply Secret " + p.Secrets[0]
		}
		add(stepSecrets, title, soon)
	}
	add(stepDefinitions, "apply the chart's CustomResourceDefinitions", soon)
	add(stepChart, fmt.Sprintf("install chart %s %s as release %s/%s", ChartName, p.Version, p.Namespace, p.Release), chartTime)
	add(stepReady, "wait until Argo CD is ready", time.Duration(p.ReadySeconds)*time.Second)
	add(stepRoot, "apply the root Application "+p.Namespace+"/"+p.RootName, soon)
	add(stepWaves, "see every wave healthy", time.Duration(p.WavesSeconds)*time.Second+wavesGrace)
	return steps
}

// Plan makes the plan of a prepared bootstrap.
func (b *Bootstrap) Plan(prepared *Prepared) (operation.Plan, error) {
	encoded, err := json.Marshal(prepared.Params)
	if err != nil {
		return operation.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	return operation.Plan{
		ID: prepared.ID, Operation: Operation, Target: PlanTarget, ClusterUID: prepared.Identity.ClusterUID, Server: prepared.Identity.Server,
		Context: prepared.Identity.Context, CreatedBy: operation.WhoAmI(), CreationTime: b.Now().UTC(), Steps: prepared.Params.plannedSteps(), Params: encoded,
	}, nil
}

// PlanTarget is what every plan of this package is about: a cluster is bootstrapped by one at a time.
const PlanTarget = "cluster/argocd"
