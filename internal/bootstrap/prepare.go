package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/operation"
	"github.com/drctl/drctl/internal/recovery"
)

// Prepared is a plan that has not begun, with what a person must know before.
type Prepared struct {
	ID       string
	Params   *Params
	Identity Identity
	// Checks are those of the preflight, in order of area.
	Checks []recovery.Check
	// Manifest is what the release would consist of, without the values of Secrets.
	Manifest string
	// Changes are what the plan would change; empty when there is nothing to do.
	Changes []string
	// Release is the one that is there, nil for none.
	Release *recovery.Release
}

// Stopping are the failed checks that were not accepted, or can't be.
func (p *Prepared) Stopping(accept []string) []recovery.Check {
	return slices.DeleteFunc(slices.Clone(p.Checks), func(c recovery.Check) bool {
		return c.Result != recovery.CheckFail || acceptable(c) && slices.Contains(accept, c.Area+"/"+c.Name)
	})
}

// acceptable holds for what an operator may know better. Without a chart there is nothing to install; an older one would
// not understand the definitions and data of the newer.
func acceptable(c recovery.Check) bool { return c.Area != areaArgo }

// Check is the preflight alone. It reads and changes nothing; what can't be looked at is skipped with its reason. The
// error is for what makes the whole of it impossible.
func (b *Bootstrap) Check(ctx context.Context, o Options) (*Prepared, error) {
	return b.prepare(ctx, o)
}

// Prepare makes a plan of what is to be done, checked.
func (b *Bootstrap) Prepare(ctx context.Context, o Options) (*Prepared, error) {
	prepared, err := b.prepare(ctx, o)
	if err != nil {
		return prepared, err
	}
	if failed := prepared.Stopping(o.Accept); len(failed) > 0 {
		return prepared, stopped(failed)
	}
	if prepared.Manifest, err = b.render(ctx, prepared); err != nil {
		return prepared, err
	}
	prepared.Changes, err = b.changes(ctx, o, prepared)
	return prepared, err
}

// ErrChecks ends a bootstrap ahead of its plan.
var ErrChecks = errors.New("the cluster is not fit to be bootstrapped")

func stopped(failed []recovery.Check) error {
	names := make([]string, 0, len(failed))
	for _, check := range failed {
		names = append(names, check.Area+"/"+check.Name)
	}
	first := failed[0]
	next := first.Fix
	if len(failed) > 1 {
		next += fmt.Sprintf("; and %d more above", len(failed)-1)
	}
	if acceptable(first) {
		next += "; what you know better: --accept " + first.Area + "/" + first.Name
	}
	return &recovery.Problem{
		What: "bootstrap the cluster", Why: fmt.Sprintf("%s failed (%s)", plural(len(failed), "check"), strings.Join(names, ", ")), Next: next, Err: ErrChecks,
	}
}

func (b *Bootstrap) prepare(ctx context.Context, o Options) (*Prepared, error) {
	if b.Tree == nil {
		return nil, &recovery.Problem{What: "bootstrap a cluster", Why: "no GitOps tree is named, and it says what the platform is", Next: "give --gitops DIR, the folder of its checkout", Err: recovery.ErrUsage}
	}
	identity, err := b.Cluster.Identity(ctx)
	if err != nil {
		return nil, err
	}
	prepared := &Prepared{ID: operation.NewID(Operation, b.Now()), Identity: identity}
	if prepared.Params, err = b.params(ctx, o); err != nil {
		return nil, err
	}
	preflight := &preflight{Bootstrap: b, options: o, params: prepared.Params}
	prepared.Checks, prepared.Release = preflight.run(ctx)
	return prepared, ctx.Err()
}

// params reads what the tree and the flags say. The chart itself is looked for by the preflight.
func (b *Bootstrap) params(ctx context.Context, o Options) (*Params, error) {
	p := &Params{
		Namespace: Namespace, Release: ReleaseName, GitOps: b.Tree.Dir(), ValuesFiles: slices.Clone(o.ValuesFiles), TakeOwnership: o.TakeOwnership,
		SecretsDir: o.SecretsDir, ReplaceSecrets: o.ReplaceSecrets, Secrets: []string{}, Applications: []recovery.PlannedApplication{},
		ReadySeconds: int64(o.ReadyTimeout.Seconds()), WavesSeconds: int64(o.Timeout.Seconds()),
	}
	if p.ValuesFiles == nil {
		p.ValuesFiles = []string{}
	}
	manifest, file, err := b.Tree.Root(ctx)
	if err != nil {
		return nil, err
	}
	var root struct {
		Metadata struct{ Name, Namespace string } `json:"metadata"`
	}
	if err := json.Unmarshal(manifest, &root); err != nil {
		return nil, &recovery.Problem{What: "read the root Application in " + file, Why: err.Error(), Next: "correct it", Err: recovery.ErrDamaged}
	}
	p.Root, p.RootFile, p.RootName = manifest, file, root.Metadata.Name
	if root.Metadata.Namespace != "" {
		p.Namespace = root.Metadata.Namespace
	}
	if err := b.chooseChart(ctx, o, p); err != nil {
		return nil, err
	}
	if o.SecretsDir == "" {
		return p, nil
	}
	files, err := b.Files(ctx, o.SecretsDir)
	for _, secret := range files {
		p.Secrets = append(p.Secrets, secret.Namespace+"/"+secret.Name)
	}
	return p, err
}

// chooseChart takes the chart from the flags, and what they leave open from the tree.
func (b *Bootstrap) chooseChart(ctx context.Context, o Options, p *Params) error {
	pins, _, err := b.Tree.Charts(ctx)
	if err != nil {
		return err
	}
	for _, pin := range pins {
		if pin.Name != ChartName {
			continue
		}
		if p.Pin != nil && p.Pin.Version != pin.Version {
			return &recovery.Problem{
				What: "find the version of Argo CD in the GitOps tree", Why: fmt.Sprintf("%s says %s, and %s says %s", p.Pin.Source, p.Pin.Version, pin.Source, pin.Version),
				Next: "make them agree: Argo CD will install what it finds", Err: recovery.ErrDamaged,
			}
		}
		if p.Pin == nil || len(p.Pin.ValuesFiles) == 0 {
			pin.ValuesInline = "" // a plan holds no values; the tree has them
			p.Pin = &pin
		}
	}
	p.Chart = o.Chart
	if p.Pin != nil {
		if p.Pin.Release != "" {
			p.Release = p.Pin.Release
		}
		if p.Chart.Location == "" {
			p.Chart.Location, p.Chart.Repository = located(p.Pin, p.Chart.Repository)
		}
		if p.Chart.Version == "" && !onDisk(p.Chart) {
			p.Chart.Version = p.Pin.Version
		}
	}
	if p.Chart.Location == "" {
		p.Chart.Location = ChartName
	}
	if !onDisk(p.Chart) && p.Chart.Version == "" {
		return &recovery.Problem{
			What: "find the version of Argo CD", Why: "no manifest of the tree pins chart " + ChartName, Next: "give --chart-version, or --chart FOLDER or FILE.tgz", Err: recovery.ErrUsage,
		}
	}
	if !onDisk(p.Chart) && p.Chart.Repository == "" && !strings.HasPrefix(p.Chart.Location, "oci://") {
		p.Chart.Repository = "https://argoproj.github.io/argo-helm"
	}
	return nil
}

// located is a pinned chart's place; a repository that was named goes before the tree's.
func located(pin *recovery.ChartPin, repository string) (location, from string) {
	if repository == "" {
		repository = pin.Repository
	}
	if strings.HasPrefix(repository, "oci://") {
		return strings.TrimSuffix(repository, "/") + "/" + pin.Name, ""
	}
	return pin.Name, repository
}

// onDisk holds for a folder or a file, which has a version of its own.
func onDisk(source recovery.ChartSource) bool {
	return source.Repository == "" && (strings.ContainsAny(source.Location, `/\`) || strings.HasSuffix(source.Location, ".tgz")) && !strings.HasPrefix(source.Location, "oci://")
}

// values are those of the plan, as YAML.
func (b *Bootstrap) values(ctx context.Context, p *Params) ([]byte, error) {
	if b.Tree == nil {
		return nil, &recovery.Problem{What: "read the values of Argo CD", Why: "the GitOps tree " + p.GitOps + " is not there", Next: "give --gitops DIR, its checkout on this computer", Err: recovery.ErrNotFound}
	}
	pin := recovery.ChartPin{}
	if p.Pin != nil {
		pin = *p.Pin
	}
	return b.Tree.Values(ctx, pin, p.ValuesFiles)
}

// loaded is the chart of the parameters, with its values.
func (b *Bootstrap) loaded(ctx context.Context, p *Params) (Target, error) {
	chart, err := b.Releases.Load(ctx, p.Chart)
	if err == nil {
		chart.Values, err = b.values(ctx, p)
	}
	return Target{Namespace: p.Namespace, Name: p.Release, Chart: chart, TakeOwnership: p.TakeOwnership}, err
}

func (b *Bootstrap) render(ctx context.Context, prepared *Prepared) (string, error) {
	target, err := b.loaded(ctx, prepared.Params)
	if err != nil {
		return "", err
	}
	return b.Releases.Render(ctx, target)
}

// changes are what differs from what is there. A release that was not begun, or is broken off, is a change by itself.
func (b *Bootstrap) changes(ctx context.Context, o Options, prepared *Prepared) ([]string, error) {
	p := prepared.Params
	changes := []string{}
	if o.SecretsDir != "" {
		files, err := b.Files(ctx, o.SecretsDir)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			live, err := b.Cluster.Secret(ctx, file.Namespace, file.Name)
			if err != nil {
				return nil, err
			}
			if !holds(live, file.Values) {
				changes = append(changes, "Secret "+file.Namespace+"/"+file.Name)
			}
		}
	}
	switch release := prepared.Release; {
	case release == nil:
		changes = append(changes, fmt.Sprintf("release %s/%s: chart %s %s", p.Namespace, p.Release, ChartName, p.Version))
	case release.Status != "deployed":
		changes = append(changes, fmt.Sprintf("release %s/%s is %s: chart %s %s", p.Namespace, p.Release, release.Status, ChartName, p.Version))
	default:
		target, err := b.loaded(ctx, p)
		if err != nil {
			return nil, err
		}
		differs, err := b.Releases.Difference(ctx, target)
		if err != nil {
			return nil, err
		}
		changes = append(changes, differs...)
	}
	applied, err := b.Cluster.RootApplied(ctx, p.Root)
	if err != nil {
		return nil, err
	}
	if !applied {
		changes = append(changes, "Application "+p.Namespace+"/"+p.RootName)
	}
	return changes, nil
}
