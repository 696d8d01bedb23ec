package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// checkSecrets looks for every Secret that the tree needs and does not make: in the cluster, or in the folder that is
// applied first.
func (p *preflight) checkSecrets(ctx context.Context) {
	needs, gaps, err := p.Tree.Secrets(ctx)
	if p.skip(areaSecrets, "tree", err) {
		return
	}
	p.gaps(areaSecrets, gaps)
	brought := map[string]SecretFile{}
	if p.options.SecretsDir != "" {
		files, err := p.Files(ctx, p.options.SecretsDir)
		if p.skip(areaSecrets, "folder", err) {
			return
		}
		for _, file := range files {
			brought[file.Namespace+"/"+file.Name] = file
			p.checkBrought(ctx, file)
		}
	}
	for _, need := range needs {
		p.checkNeed(ctx, need, brought)
	}
}

// checkBrought: a Secret that is there with other values may be the only place where they are.
func (p *preflight) checkBrought(ctx context.Context, file SecretFile) {
	name := file.Namespace + "/" + file.Name
	if keys := placeholders(file.Values); len(keys) > 0 {
		p.add(areaSecrets, name, recovery.CheckFail, fmt.Sprintf("%s still has CHANGE-ME as the value of %s", file.File, some(keys)), "put the real value there")
	}
	live, err := p.Cluster.Secret(ctx, file.Namespace, file.Name)
	if p.skip(areaSecrets, name, err) {
		return
	}
	if differ := differing(live, file.Values); len(differ) > 0 && !p.options.ReplaceSecrets {
		p.add(areaSecrets, name, recovery.CheckFail, fmt.Sprintf("it is there, and holds another value of %s than %s", some(differ), file.File),
			"leave it out of the folder to keep what is there, or give --replace-secrets to overwrite it")
	}
}

func (p *preflight) checkNeed(ctx context.Context, need recovery.SecretNeed, brought map[string]SecretFile) {
	name := need.Namespace + "/" + need.Name
	values, where := map[string][]byte(nil), "in the cluster"
	if file, found := brought[name]; found {
		values, where = file.Values, "in "+file.File
	} else {
		live, err := p.Cluster.Secret(ctx, need.Namespace, need.Name)
		if p.skip(areaSecrets, name, err) {
			return
		}
		values = live
	}
	result := recovery.CheckFail
	if need.Optional {
		result = recovery.CheckWarn
	}
	fix := "put it into a folder and give --secrets DIR"
	if need.Template != "" {
		fix = fmt.Sprintf("fill in %s and give --secrets %s", need.Template, folderOf(need.Template))
	}
	if values == nil {
		p.add(areaSecrets, name, result, "it is not there, and "+some(need.UsedBy)+" "+verb(len(need.UsedBy))+" it", fix)
		return
	}
	var missing []string
	for _, key := range need.Keys {
		if _, found := values[key]; !found {
			missing = append(missing, key)
		}
	}
	switch empty := placeholders(values); {
	case len(missing) > 0:
		p.add(areaSecrets, name, result, fmt.Sprintf("it is %s without %s, which %s %s", where, some(missing), some(need.UsedBy), verb(len(need.UsedBy))), fix)
	case len(empty) > 0:
		p.add(areaSecrets, name, recovery.CheckFail, fmt.Sprintf("it is %s, and the value of %s is CHANGE-ME", where, some(empty)), fix)
	default:
		p.ok(areaSecrets, name, "%s", where)
	}
}

func verb(n int) string {
	if n == 1 {
		return "needs"
	}
	return "need"
}

func folderOf(file string) string {
	if i := strings.LastIndexByte(file, '/'); i > 0 {
		return file[:i]
	}
	return "."
}

// placeholders are the keys whose values were never filled in, sorted.
func placeholders(values map[string][]byte) []string {
	var keys []string
	for key, value := range values {
		upper := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToUpper(string(value)))
		if strings.Contains(upper, "CHANGE-ME") || strings.Contains(upper, "CHANGEME") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// checkTree looks for what was never filled in, and for what the root will make.
func (p *preflight) checkTree(ctx context.Context) {
	planned, gaps, err := p.Tree.Applications(ctx)
	if !p.skip(areaTree, "applications", err) {
		p.gaps(areaTree, gaps)
		p.mu.Lock()
		p.params.Applications = append(p.params.Applications, planned...)
		p.mu.Unlock()
		if len(planned) == 0 {
			p.add(areaTree, "applications", recovery.CheckFail, p.params.RootFile+" leads to no Application", "does its path name a folder of this tree, and the tree this branch?")
		} else {
			p.ok(areaTree, "applications", "%s leads to %s in waves %d to %d", p.params.RootFile, plural(len(planned), "Application"), lowestWave(planned), highestWave(planned))
		}
	}
	markers, err := p.Tree.Markers(ctx)
	if p.skip(areaTree, "markers", err) {
		return
	}
	var values, comments []string
	templates := p.templates(ctx)
	for _, marker := range markers {
		if marker.Value && templates[marker.File] {
			continue // it is filled in elsewhere: the check of that Secret says whether it was
		}
		place := fmt.Sprintf("%s:%d", marker.File, marker.Line)
		if marker.Value {
			values = append(values, place+inBrackets(marker.Text, ""))
		} else {
			comments = append(comments, place)
		}
	}
	if len(values) > 0 {
		p.add(areaTree, "placeholders", recovery.CheckFail, plural(len(values), "value")+" still CHANGE-ME: "+some(values), "fill them in, commit and push")
	}
	if len(comments) > 0 {
		p.add(areaTree, "markers", recovery.CheckWarn, plural(len(comments), "place")+" marked # CHANGE: "+some(comments), "look at each; take the mark away where it is right")
	}
	if len(values)+len(comments) == 0 {
		p.ok(areaTree, "markers", "nothing is left to be filled in")
	}
}

// templates are the files of the tree that hold Secrets to be filled in and brought.
func (p *preflight) templates(ctx context.Context) map[string]bool {
	files := map[string]bool{}
	needs, _, err := p.Tree.Secrets(ctx)
	if err != nil {
		return files // the check of the Secrets says so
	}
	for _, need := range needs {
		files[need.Template] = true
	}
	return files
}

func lowestWave(planned []recovery.PlannedApplication) int {
	return slices.MinFunc(planned, byWave).Wave
}

func highestWave(planned []recovery.PlannedApplication) int {
	return slices.MaxFunc(planned, byWave).Wave
}

func byWave(a, b recovery.PlannedApplication) int { return a.Wave - b.Wave }

// checkExports: the plumber must look where the movers write, else it finds no backup and every claim starts empty.
func (p *preflight) checkExports(ctx context.Context) {
	exports, err := p.Tree.Exports(ctx)
	if p.skip(areaBackups, "nfs", err) || len(exports) == 0 {
		return
	}
	var owners, places []string
	for owner, export := range exports {
		owners = append(owners, owner+" "+export)
		places = append(places, strings.TrimSuffix(export, "/"))
	}
	slices.Sort(owners)
	slices.Sort(places)
	if places = slices.Compact(places); len(places) > 1 {
		p.add(areaBackups, "nfs", recovery.CheckFail, "they do not name the same export: "+strings.Join(owners, "; ")+": the plumber would find no backup, and claims start empty",
			"make them the same in Git")
		return
	}
	p.ok(areaBackups, "nfs", "%s is what %s", places[0], named(len(owners)))
}

func named(n int) string {
	if n == 1 {
		return "the one place that names it says"
	}
	return fmt.Sprintf("all %d places say", n)
}

// checkGit: Argo CD pulls the remote, not this disk.
func (p *preflight) checkGit(ctx context.Context) {
	if p.Git == nil {
		return
	}
	state, err := p.Git.State(ctx, rootRevision(p.params.Root))
	if errors.Is(err, recovery.ErrNotFound) {
		p.add(areaGit, "checkout", recovery.CheckWarn, "the tree is no checkout of Git, so whether Argo CD sees the same can't be told", "use a clone of the platform's repository")
		return
	}
	if errors.Is(err, recovery.ErrUnreachable) || errors.Is(err, recovery.ErrDenied) {
		p.add(areaGit, "remote", recovery.CheckFail, err.Error(), "Argo CD needs it too: is it up, and may it be read?")
		return
	}
	if p.skip(areaGit, "remote", err) {
		return
	}
	p.judgeGit(state)
}

func (p *preflight) judgeGit(state GitState) {
	short := func(commit string) string { return commit[:min(len(commit), 7)] }
	if repository := rootRepository(p.params.Root); state.Remote != "" && !sameRepository(repository, state.Remote) {
		p.add(areaGit, "repository", recovery.CheckWarn, fmt.Sprintf("%s follows %s, and this checkout's remote is %s", p.params.RootFile, repository, state.Remote),
			"are they the same repository? Else Argo CD will install another tree than the one that was checked here")
	}
	switch {
	case state.RemoteHead == "":
		p.add(areaGit, "pushed", recovery.CheckFail, "the remote has no branch or tag "+rootRevision(p.params.Root)+", which the root Application follows", "push it")
	case !state.Pushed:
		p.add(areaGit, "pushed", recovery.CheckFail, fmt.Sprintf("commit %s is not on the remote, which is at %s: Argo CD pulls the remote, not your disk", short(state.Head), short(state.RemoteHead)),
			"git push "+"(in "+p.Tree.Dir()+")")
	case state.Behind:
		p.add(areaGit, "pushed", recovery.CheckWarn, fmt.Sprintf("the remote is at %s and this checkout at %s: Argo CD will install what was not checked here", short(state.RemoteHead), short(state.Head)), "git pull")
	default:
		p.ok(areaGit, "pushed", "commit %s is what the remote has", short(state.Head))
	}
	if len(state.Changed) > 0 {
		p.add(areaGit, "clean", recovery.CheckWarn, plural(len(state.Changed), "file")+" not committed: "+some(state.Changed)+"; Argo CD will not see them", "commit and push, or put them away")
	}
}
