package bootstrap

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// rootSource is where the root Application looks.
type rootSource struct {
	RepoURL        string `json:"repoURL"`
	TargetRevision string `json:"targetRevision"`
}

func rootOf(manifest []byte) rootSource {
	var root struct {
		Spec struct {
			Source  *rootSource  `json:"source"`
			Sources []rootSource `json:"sources"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(manifest, &root); err != nil {
		return rootSource{}
	}
	if len(root.Spec.Sources) > 0 {
		return root.Spec.Sources[0]
	}
	if root.Spec.Source != nil {
		return *root.Spec.Source
	}
	return rootSource{}
}

func rootRepository(manifest []byte) string { return rootOf(manifest).RepoURL }

// rootRevision is the branch, tag or commit that it follows; HEAD, the remote's default branch, when it names none.
func rootRevision(manifest []byte) string {
	if revision := rootOf(manifest).TargetRevision; revision != "" {
		return revision
	}
	return "HEAD"
}

// sameRepository compares two URLs as people write them: with or without .git, by HTTPS or SSH.
func sameRepository(a, b string) bool {
	plain := func(url string) string {
		url = strings.TrimSuffix(strings.TrimSuffix(url, "/"), ".git")
		if _, rest, found := strings.Cut(url, "://"); found {
			url = rest
		}
		if _, rest, found := strings.Cut(url, "@"); found {
			url = rest
		}
		return strings.ToLower(strings.Replace(url, ":", "/", 1))
	}
	return plain(a) == plain(b)
}

// checkKopia opens the repository that the claims will be restored from.
func (p *preflight) checkKopia(ctx context.Context) {
	if p.Backups == nil {
		return
	}
	holding, err := p.kopia(ctx)
	if err != nil {
		p.add(areaBackups, "kopia", recovery.CheckFail, "the repository can't be read ("+oneLine(err)+"): if the plumber can't either, every claim waits, or starts empty", nextOf(err, "give --repo and KOPIA_PASSWORD"))
		return
	}
	if holding.Snapshots == 0 {
		p.add(areaBackups, "kopia", recovery.CheckWarn, holding.Repository+" holds no snapshot: every claim will start empty", "is this the repository of the old cluster?")
		return
	}
	p.ok(areaBackups, "kopia", "%s holds %s of %s, the newest of %s", holding.Repository, plural(holding.Snapshots, "snapshot"), plural(holding.Sources, "source"), holding.Newest.UTC().Format(time.RFC3339))
}

// checkDatabases reads each database's catalog. Those with backups will come up empty all the same.
func (p *preflight) checkDatabases(ctx context.Context) {
	if p.Backups == nil {
		return
	}
	databases, gaps, err := p.Tree.Databases(ctx)
	if p.skip(areaBackups, "databases", err) {
		return
	}
	p.gaps(areaBackups, gaps)
	for _, database := range databases {
		name := database.Namespace + "/" + database.Name
		if database.ServerName == "" {
			p.add(areaBackups, name, recovery.CheckWarn, "it has no backup section", "nothing could be recovered, now or later: add one")
			continue
		}
		holding, err := p.Backups.Database(ctx, database)
		switch {
		case err != nil:
			p.add(areaBackups, name, recovery.CheckFail, "its backups can't be read: "+oneLine(err), nextOf(err, "give --endpoint-url and the AWS_ variables"))
		case holding.Restorable == 0:
			p.add(areaBackups, name, recovery.CheckWarn, database.Store.DestinationPath+" holds no restorable backup: it will start empty for good", "is this the bucket of the old cluster?")
		default:
			p.ok(areaBackups, name, "%s, the newest of %s; it will come up empty, and drctl cnpg recover %s brings them back", plural(holding.Restorable, "restorable backup"), holding.Newest.UTC().Format(time.RFC3339), database.Name)
		}
	}
}

func oneLine(err error) string {
	if problem := innermost(err); problem != nil {
		return strings.TrimSuffix(problem.What+": "+problem.Cause(), ": ")
	}
	return err.Error()
}

func nextOf(err error, otherwise string) string {
	if problem := innermost(err); problem != nil && problem.Next != "" {
		return problem.Next
	}
	return otherwise
}

// checkArgo fetches the chart, and compares with what is installed.
func (p *preflight) checkArgo(ctx context.Context) {
	params := p.params
	chart, err := p.Releases.Load(ctx, params.Chart)
	if err != nil {
		p.add(areaArgo, "chart", recovery.CheckFail, oneLine(err), nextOf(err, "without internet: --chart FILE.tgz"))
		return
	}
	if chart.Name != ChartName {
		p.add(areaArgo, "chart", recovery.CheckFail, "it is chart "+chart.Name+", not "+ChartName, "give --chart a chart of Argo CD")
		return
	}
	params.Version, params.Digest = chart.Version, chart.Digest
	values, err := p.values(ctx, params)
	if err != nil {
		p.add(areaArgo, "values", recovery.CheckFail, oneLine(err), nextOf(err, "correct the values file"))
		return
	}
	params.ValuesDigest = digestOf(values)
	p.ok(areaArgo, "chart", "%s %s (Argo CD %s)%s", chart.Name, chart.Version, chart.AppVersion, p.pinWords(chart))
	p.checkRelease(ctx, chart)
}

func (p *preflight) pinWords(chart recovery.Chart) string {
	switch pin := p.params.Pin; {
	case pin == nil:
		return ""
	case strings.TrimPrefix(pin.Version, "v") == chart.Version:
		return ", as " + pin.Source + " pins it"
	default:
		return fmt.Sprintf("; %s pins %s, which Argo CD will go to once it manages itself", pin.Source, pin.Version)
	}
}

func (p *preflight) checkRelease(ctx context.Context, chart recovery.Chart) {
	params := p.params
	release, err := p.Releases.Release(ctx, params.Namespace, params.Release)
	if p.skip(areaArgo, "release", err) {
		return
	}
	p.release = release
	name := params.Namespace + "/" + params.Release
	switch {
	case release == nil:
		p.checkForeign(ctx)
	case release.ChartName != ChartName && release.ChartName != "":
		p.add(areaArgo, "release", recovery.CheckFail, fmt.Sprintf("release %s is of chart %s", name, release.ChartName), "that is something else: take it away, or name another release in the tree")
	case release.Deployed > 0 && older(chart.Version, release.DeployedVersion):
		p.add(areaArgo, "release", recovery.CheckFail, fmt.Sprintf("release %s is at chart %s, and %s is older: its definitions and data may not be understood by it", name, release.DeployedVersion, chart.Version),
			"give --chart-version "+release.DeployedVersion+" or newer, and pin that in the tree")
	case release.Pending:
		p.add(areaArgo, "release", recovery.CheckWarn, fmt.Sprintf("revision %d of release %s is %s since %s: an earlier attempt was broken off", release.Revision, name, release.Status, release.UpdatedAt.UTC().Format(time.RFC3339)),
			"nothing to do: it is marked as failed, and done again")
	case release.Status != "deployed":
		p.add(areaArgo, "release", recovery.CheckWarn, fmt.Sprintf("revision %d of release %s is %s (%s)", release.Revision, name, release.Status, release.Description), "nothing to do: it is done again")
	default:
		p.ok(areaArgo, "release", "%s is at chart %s, revision %d", name, release.ChartVersion, release.Revision)
	}
}

// checkForeign: an Argo CD that Helm did not install would be in the way object by object.
func (p *preflight) checkForeign(ctx context.Context) {
	there, err := p.Cluster.Definition(ctx, applicationDefinition)
	if p.skip(areaArgo, "release", err) {
		return
	}
	if !there {
		p.ok(areaArgo, "release", "Argo CD is not installed")
		return
	}
	applications, err := p.Cluster.Applications(ctx)
	if p.skip(areaArgo, "release", err) {
		return
	}
	if len(applications) == 0 || p.options.TakeOwnership {
		p.ok(areaArgo, "release", "there is no release %s/%s; the definitions are there, with %s", p.params.Namespace, p.params.Release, plural(len(applications), "Application"))
		return
	}
	p.add(areaArgo, "release", recovery.CheckFail, fmt.Sprintf("there are %s, but no release %s/%s: another Argo CD runs here, or was installed without Helm", plural(len(applications), "Application"), p.params.Namespace, p.params.Release),
		"is this the right cluster? To adopt what is there: --take-ownership")
}
