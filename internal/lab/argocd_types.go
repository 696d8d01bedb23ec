package lab

import (
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// argoRefreshAnnotation asks for a comparison at once. Source: argo-cd common/common.go.
const argoRefreshAnnotation = "argocd.argoproj.io/refresh"

// The phases of an operation. Source: gitops-engine pkg/sync/common/types.go.
const (
	argoPhaseRunning     = "Running"
	argoPhaseTerminating = "Terminating"
	argoPhaseSucceeded   = "Succeeded"
	argoPhaseFailed      = "Failed"
	argoPhaseError       = "Error"
)

// The codes of status.sync.status.
const (
	argoSynced    = "Synced"
	argoOutOfSync = "OutOfSync"
	argoUnknown   = "Unknown"
)

// argoApplication is the part of an Application that the stand-in reads and writes. Everything else of
// the spec stays as it is on the server.
type argoApplication struct {
	Metadata  metav1.ObjectMeta `json:"metadata"`
	Spec      argoSpec          `json:"spec"`
	Operation *argoOperation    `json:"operation,omitempty"`
	Status    argoStatus        `json:"status,omitempty"`
}

type argoSource struct {
	RepoURL        string `json:"repoURL"`
	Path           string `json:"path,omitempty"`
	Chart          string `json:"chart,omitempty"`
	TargetRevision string `json:"targetRevision,omitempty"`
}

type argoDestination struct {
	Server    string `json:"server,omitempty"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

type argoSpec struct {
	Source      argoSource      `json:"source"`
	Sources     []argoSource    `json:"sources,omitempty"`
	Destination argoDestination `json:"destination"`
	SyncPolicy  *struct {
		Automated *struct {
			Enabled  *bool `json:"enabled,omitempty"`
			Prune    bool  `json:"prune,omitempty"`
			SelfHeal bool  `json:"selfHeal,omitempty"`
		} `json:"automated,omitempty"`
		SyncOptions []string           `json:"syncOptions,omitempty"`
		Retry       *argoRetryStrategy `json:"retry,omitempty"`
	} `json:"syncPolicy,omitempty"`
}

// automated is true when nobody has to ask for a sync.
func (s argoSpec) automated() bool {
	return s.SyncPolicy != nil && s.SyncPolicy.Automated != nil && (s.SyncPolicy.Automated.Enabled == nil || *s.SyncPolicy.Automated.Enabled)
}

// from is the source that is played: a chart where there is one, else the first.
func (s argoSpec) from() argoSource {
	for _, source := range s.Sources {
		if source.Chart != "" {
			return source
		}
	}
	if len(s.Sources) > 0 {
		return s.Sources[0]
	}
	return s.Source
}

// option reports whether a sync option such as "CreateNamespace=true" is set.
func (s argoSpec) option(name string) bool {
	return s.SyncPolicy != nil && slices.Contains(s.SyncPolicy.SyncOptions, name)
}

type argoRetryStrategy struct {
	Limit   int64 `json:"limit,omitempty"`
	Refresh bool  `json:"refresh,omitempty"`
	Backoff *struct {
		Duration    string `json:"duration,omitempty"`
		Factor      *int64 `json:"factor,omitempty"`
		MaxDuration string `json:"maxDuration,omitempty"`
	} `json:"backoff,omitempty"`
}

// pause is how long the next attempt waits after attempt number retries.
// Source: pkg/apis/application/v1alpha1/types.go, NextRetryAt.
func (r argoRetryStrategy) pause(retries int64) (time.Duration, error) {
	duration, factor, most := 5*time.Second, int64(2), 3*time.Minute
	if r.Backoff != nil {
		var err error
		if r.Backoff.Duration != "" {
			if duration, err = time.ParseDuration(r.Backoff.Duration); err != nil {
				return 0, err
			}
		}
		if r.Backoff.MaxDuration != "" {
			if most, err = time.ParseDuration(r.Backoff.MaxDuration); err != nil {
				return 0, err
			}
		}
		if r.Backoff.Factor != nil {
			factor = *r.Backoff.Factor
		}
	}
	wait := float64(duration) * math.Pow(float64(factor), float64(retries))
	if most > 0 {
		wait = min(float64(most), wait)
	}
	return time.Duration(wait), nil
}

type argoOperation struct {
	Sync        *argoSync         `json:"sync,omitempty"`
	InitiatedBy argoInitiator     `json:"initiatedBy,omitempty"`
	Retry       argoRetryStrategy `json:"retry,omitempty"`
}

type argoInitiator struct {
	Username  string `json:"username,omitempty"`
	Automated bool   `json:"automated,omitempty"`
}

type argoSync struct {
	Revision              string             `json:"revision,omitempty"`
	Prune                 bool               `json:"prune,omitempty"`
	DryRun                bool               `json:"dryRun,omitempty"`
	Source                *argoSource        `json:"source,omitempty"`
	SyncOptions           []string           `json:"syncOptions,omitempty"`
	Resources             []argoSyncResource `json:"resources,omitempty"`
	SelfHealAttemptsCount int64              `json:"autoHealAttemptsCount,omitempty"`
}

type argoSyncResource struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

type argoOperationState struct {
	Phase      string          `json:"phase"`
	Message    string          `json:"message,omitempty"`
	Operation  argoOperation   `json:"operation"`
	StartedAt  metav1.Time     `json:"startedAt"`
	FinishedAt *metav1.Time    `json:"finishedAt,omitempty"`
	RetryCount int64           `json:"retryCount,omitempty"`
	SyncResult *argoSyncResult `json:"syncResult,omitempty"`
}

func (s *argoOperationState) completed() bool {
	return s.Phase == argoPhaseSucceeded || s.Phase == argoPhaseFailed || s.Phase == argoPhaseError
}

type argoSyncResult struct {
	Revision  string               `json:"revision"`
	Source    argoSource           `json:"source"`
	Resources []argoResourceResult `json:"resources,omitempty"`
}

// argoResourceResult is what a sync did to one object. Status is Synced, SyncFailed or Pruned; HookPhase is how
// far the object is, for those that are no hooks too.
type argoResourceResult struct {
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Status    string `json:"status,omitempty"`
	Message   string `json:"message,omitempty"`
	HookType  string `json:"hookType,omitempty"`
	HookPhase string `json:"hookPhase,omitempty"`
	SyncPhase string `json:"syncPhase,omitempty"`
}

type argoStatus struct {
	Conditions     []argoCondition     `json:"conditions,omitempty"`
	Health         argoHealth          `json:"health,omitempty"`
	OperationState *argoOperationState `json:"operationState,omitempty"`
	ReconciledAt   *metav1.Time        `json:"reconciledAt,omitempty"`
	Resources      []argoResource      `json:"resources,omitempty"`
	SourceType     string              `json:"sourceType,omitempty"`
	Sync           argoSyncStatus      `json:"sync,omitempty"`
}

type argoCondition struct {
	Type               string       `json:"type"`
	Message            string       `json:"message"`
	LastTransitionTime *metav1.Time `json:"lastTransitionTime,omitempty"`
}

type argoHealth struct {
	Status  string `json:"status,omitempty"`
	Message string `json:"message,omitempty"`
}

type argoResource struct {
	Group           string      `json:"group,omitempty"`
	Version         string      `json:"version,omitempty"`
	Kind            string      `json:"kind,omitempty"`
	Namespace       string      `json:"namespace,omitempty"`
	Name            string      `json:"name,omitempty"`
	Status          string      `json:"status,omitempty"`
	Health          *argoHealth `json:"health,omitempty"`
	Hook            bool        `json:"hook,omitempty"`
	RequiresPruning bool        `json:"requiresPruning,omitempty"`
	SyncWave        int64       `json:"syncWave,omitempty"`
}

type argoSyncStatus struct {
	Status     string         `json:"status"`
	Revision   string         `json:"revision,omitempty"`
	ComparedTo argoComparedTo `json:"comparedTo"`
}

type argoComparedTo struct {
	Source      argoSource      `json:"source"`
	Destination argoDestination `json:"destination"`
}
