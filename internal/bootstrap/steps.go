package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/safeguard"
)

// errDeploy: Helm was at it and failed, so that waiting does not help.
var errDeploy = errors.New("the release failed")

// Handlers are the steps for the engine.
func (b *Bootstrap) Handlers() map[string]operation.Handler {
	return map[string]operation.Handler{
		stepSecrets: secretsStep{b}, stepDefinitions: definitionsStep{b}, stepChart: chartStep{b},
		stepReady: readyStep{Bootstrap: b}, stepRoot: rootStep{b}, stepWaves: wavesStep{Bootstrap: b},
	}
}

// secretsStep brings the Secrets that no manifest makes. They stay when the plan is aborted: they do no harm, and
// the next attempt needs them.
type secretsStep struct{ *Bootstrap }

func (s secretsStep) files(ctx context.Context, run *operation.Run) (*Params, []SecretFile, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return nil, nil, err
	}
	files, err := s.Files(ctx, p.SecretsDir)
	return p, files, err
}

func (s secretsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	_, files, err := s.files(ctx, run)
	if err != nil {
		return operation.Observation{}, err
	}
	for _, file := range files {
		live, err := s.Cluster.Secret(ctx, file.Namespace, file.Name)
		if err != nil {
			return operation.Observation{}, err
		}
		if !holds(live, file.Values) {
			return operation.IsPending("Secret %s/%s is not as in %s", file.Namespace, file.Name, file.File)
		}
	}
	return operation.IsDone()
}

func (s secretsStep) Apply(ctx context.Context, run *operation.Run) error {
	p, files, err := s.files(ctx, run)
	if err != nil {
		return err
	}
	for _, file := range files {
		_, err := s.Cluster.ApplySecret(ctx, file, p.ReplaceSecrets || !safeguard.Secrets)
		if errors.Is(err, recovery.ErrConflict) {
			err = s.conflict(ctx, run, file, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// conflict tells a Secret that holds other values, which no further try changes, from one that somebody was just writing.
func (s secretsStep) conflict(ctx context.Context, run *operation.Run, file SecretFile, err error) error {
	live, readErr := s.Cluster.Secret(ctx, file.Namespace, file.Name)
	if readErr != nil {
		return readErr
	}
	differ := differing(live, file.Values)
	if len(differ) == 0 {
		return err
	}
	return &recovery.Problem{
		What: run.Step.Title, Why: fmt.Sprintf("Secret %s/%s is there by now, and holds another value of %s than %s", file.Namespace, file.Name, some(differ), file.File),
		Next: "drctl abort " + run.Plan.ID + "; then leave it out of the folder to keep what is there, or give --replace-secrets", Err: operation.ErrConflict,
	}
}

// differing are the keys under which a live Secret holds another value, sorted.
func differing(live, wanted map[string][]byte) []string {
	var keys []string
	for key, value := range wanted {
		if there, found := live[key]; found && string(there) != string(value) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// holds reports whether a live Secret has all values of a file.
func holds(live, wanted map[string][]byte) bool {
	if live == nil {
		return false
	}
	for key, value := range wanted {
		if there, found := live[key]; !found || string(there) != string(value) {
			return false
		}
	}
	return true
}

// target loads the chart that the plan was made with.
func (b *Bootstrap) target(ctx context.Context, run *operation.Run) (Target, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return Target{}, err
	}
	chart, err := b.Releases.Load(ctx, p.Chart)
	if err != nil {
		return Target{}, err
	}
	if chart.Digest != p.Digest {
		return Target{}, changed(run, fmt.Sprintf("chart %s %s is another one than the plan was made with", chart.Name, chart.Version))
	}
	if chart.Values, err = b.values(ctx, p); err != nil {
		return Target{}, err
	}
	if digestOf(chart.Values) != p.ValuesDigest {
		return Target{}, changed(run, "the values of the tree are others than the plan was made with")
	}
	return Target{Namespace: p.Namespace, Name: p.Release, Chart: chart, TakeOwnership: p.TakeOwnership}, nil
}

func changed(run *operation.Run, why string) error {
	return &recovery.Problem{What: run.Step.Title, Why: why, Next: "drctl abort " + run.Plan.ID + ", and plan anew", Err: operation.ErrConflict}
}

// definitionsStep applies the definitions that stand beside the chart's templates: Helm itself would install them
// once, and never upgrade them. They stay when the plan is aborted: with them would go every object of their kinds.
type definitionsStep struct{ *Bootstrap }

func (s definitionsStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	names, applied := run.Fact(factDefinitions)
	if !applied {
		return operation.IsPending("not applied yet")
	}
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		established, err := s.Cluster.Definition(ctx, name)
		if err != nil || !established {
			return operation.IsDoneWhen(false, err, "%s is not established", name)
		}
	}
	return operation.IsDone()
}

func (s definitionsStep) Apply(ctx context.Context, run *operation.Run) error {
	target, err := s.target(ctx, run)
	if err != nil {
		return err
	}
	names, err := s.Releases.ApplyDefinitions(ctx, target)
	if err != nil {
		return err
	}
	return run.SetFact(ctx, factDefinitions, strings.Join(names, ","))
}

// readyStep waits for Argo CD itself.
type readyStep struct {
	operation.Waits
	*Bootstrap
}

func (s readyStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	states, err := s.Releases.Readiness(ctx, p.Namespace, p.Release)
	if err != nil {
		return operation.Observation{}, err
	}
	if waits, first := unready(states); waits > 0 {
		text := fmt.Sprintf("%s of %s ready; %s: %s", strconv.Itoa(len(states)-waits), strconv.Itoa(len(states)), first.Object, first.Why)
		if first.Hopeless {
			text += " (waiting alone does not help)"
		}
		return operation.IsPending("%s", text)
	}
	established, err := s.Cluster.Definition(ctx, applicationDefinition)
	if err != nil || !established {
		return operation.IsDoneWhen(false, err, "CustomResourceDefinition %s is not established", applicationDefinition)
	}
	return done(ctx, run, FactReady, s.Now())
}

// done is a step that is at its end, with the moment of that.
func done(ctx context.Context, run *operation.Run, fact string, now time.Time) (operation.Observation, error) {
	if err := run.SetFact(ctx, fact, now.UTC().Format(time.RFC3339)); err != nil {
		return operation.Observation{}, err
	}
	return operation.IsDone()
}

// unready counts what is not ready, and gives the one to be named: first what waiting does not help.
func unready(states []recovery.ObjectState) (int, recovery.ObjectState) {
	count := 0
	var first recovery.ObjectState
	for _, state := range states {
		if state.Ready {
			continue
		}
		if count == 0 || state.Hopeless && !first.Hopeless {
			first = state
		}
		count++
	}
	return count, first
}

// rootStep gives Argo CD the platform. From here on it makes everything by itself.
type rootStep struct{ *Bootstrap }

func (s rootStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	applied, err := s.Cluster.RootApplied(ctx, p.Root)
	return operation.IsDoneWhen(applied, err, "it is not there")
}

func (s rootStep) Apply(ctx context.Context, run *operation.Run) error {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return err
	}
	return s.Cluster.ApplyRoot(ctx, p.Root)
}

// Happened looks for the Application until a request that is still under way would have arrived.
func (s rootStep) Happened(ctx context.Context, run *operation.Run) (bool, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return false, err
	}
	return operation.Arrives(ctx, s.inFlight, func() (bool, error) { return s.Cluster.RootApplied(ctx, p.Root) })
}
