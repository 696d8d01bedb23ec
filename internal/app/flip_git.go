package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"github.com/pmezard/go-difflib/difflib"

	"github.com/drctl/drctl/internal/cloudnativepg"
	"github.com/drctl/drctl/internal/cnpg/flip"
	"github.com/drctl/drctl/internal/git"
	"github.com/drctl/drctl/internal/gitops"
	"github.com/drctl/drctl/internal/gitops/edit"
	"github.com/drctl/drctl/internal/recovery"
)

// commitsBack is how far a plan's commit is looked for.
const commitsBack = 200

// flipGit is the GitOps tree as a checkout. Folder is what the operator gave, which may lie below the
// top level.
type flipGit struct {
	repo   *git.Repo
	folder string
}

// openGit is nil without a tree, or where the tree is no checkout: then the change is somebody else's.
func (a *App) openGit(ctx context.Context) (flip.Git, error) {
	places, err := a.places()
	if err != nil || places.GitOps == "" {
		return nil, err
	}
	repo, err := git.Open(ctx, places.GitOps)
	if err != nil {
		return nil, err
	}
	return flipGit{repo: repo, folder: places.GitOps}, nil
}

// Check fetches and sees that a commit can be made and pushed.
func (g flipGit) Check(ctx context.Context) (flip.GitState, error) {
	state, err := g.repo.State(ctx)
	if err != nil {
		return flip.GitState{}, err
	}
	refuse := func(why, next string) error {
		return &recovery.Problem{What: "commit to the GitOps tree " + g.repo.Top(), Why: why, Next: next, Err: recovery.ErrUsage}
	}
	switch {
	case state.Detached || state.Branch == "":
		return flip.GitState{}, refuse("it is on no branch", "git switch BRANCH, the one that Argo CD follows")
	case state.Remote == "":
		return flip.GitState{}, refuse("branch "+state.Branch+" follows no remote branch", "git branch --set-upstream-to=REMOTE/BRANCH")
	case state.MidOperation != "":
		return flip.GitState{}, refuse("a "+state.MidOperation+" was begun and not ended", "end it first: git "+state.MidOperation+" --abort, or --continue")
	case !state.Clean:
		return flip.GitState{}, refuse("it has changes: "+strings.Join(state.Dirty, ", "), "commit or stash them first")
	}
	if err := g.repo.Fetch(ctx); err != nil {
		return flip.GitState{}, err
	}
	ahead, behind, err := g.repo.Divergence(ctx)
	if err != nil {
		return flip.GitState{}, err
	}
	if behind > 0 {
		return flip.GitState{}, refuse(fmt.Sprintf("it is %d commits behind its remote", behind), "git pull --rebase")
	}
	return flip.GitState{Directory: g.repo.Top(), Branch: state.RemoteBranch, Remote: state.Remote, Head: state.Head, Ahead: ahead}, nil
}

func cluster(namespace, name string) edit.Target {
	return edit.Target{Kind: apiv1.ClusterKind, Namespace: namespace, Name: name}
}

// edits asks the editor; the manifest is what the tree builds with the change.
func (g flipGit) edits(ctx context.Context, namespace, name, from, to string) ([]edit.Edited, json.RawMessage, error) {
	var manifest json.RawMessage
	edits, err := edit.FindAndSet(ctx, g.repo.Top(), cluster(namespace, name), from, to, func(ctx context.Context, root string) (string, error) {
		var err error
		manifest, err = g.build(ctx, root, namespace, name)
		if err != nil || manifest == nil {
			return "", err
		}
		object, err := decodeManifest(manifest)
		if err != nil {
			return "", err
		}
		server, _, err := cloudnativepg.WriteServer(object)
		return server, err
	})
	if err == nil && manifest == nil {
		manifest, err = g.build(ctx, g.repo.Top(), namespace, name)
	}
	return edits, manifest, err
}

// build gives the Cluster that a tree builds; nil when it builds none.
func (g flipGit) build(ctx context.Context, root, namespace, name string) (json.RawMessage, error) {
	tree, _, err := gitops.Open(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, in := range []string{namespace, "default"} { // what names no namespace gets that of its Application
		objects, _, err := tree.List(ctx, apiv1.SchemeGroupVersion.WithResource("clusters"), in)
		if err != nil && !errors.Is(err, recovery.ErrNotFound) {
			return nil, err
		}
		for i := range objects {
			if objects[i].GetName() != name {
				continue
			}
			annotations := objects[i].GetAnnotations()
			delete(annotations, recovery.DirectoryAnnotation)
			objects[i].SetAnnotations(annotations)
			objects[i].SetNamespace(namespace)
			return objects[i].MarshalJSON()
		}
	}
	return nil, nil
}

// Preview gives the Cluster as it will be, and the change.
func (g flipGit) Preview(ctx context.Context, namespace, name, from, to string) (json.RawMessage, string, error) {
	if from == to {
		manifest, err := g.build(ctx, g.repo.Top(), namespace, name)
		if err == nil && manifest == nil {
			err = &recovery.Problem{What: "find Cluster " + namespace + "/" + name + " in the GitOps tree", Err: recovery.ErrNotFound}
		}
		return manifest, "", err
	}
	edits, manifest, err := g.edits(ctx, namespace, name, from, to)
	var unknown *edit.Unrecognised
	if errors.As(err, &unknown) {
		return nil, "", &recovery.Problem{
			What: unknown.What, Why: unknown.Why, Next: "make this change by hand, commit it without pushing, and run the command again:\n" + unknown.ManualPatch,
			Err: recovery.ErrUnsupported,
		}
	}
	if err != nil {
		return nil, "", err
	}
	diff, err := unified(edits)
	return manifest, diff, err
}

func unified(edits []edit.Edited) (string, error) {
	var b strings.Builder
	for _, e := range edits {
		text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
			A: difflib.SplitLines(string(e.Before)), B: difflib.SplitLines(string(e.After)), FromFile: "a/" + e.Path, ToFile: "b/" + e.Path, Context: 2,
		})
		if err != nil {
			return "", fmt.Errorf("show the change of %s: %w", e.Path, err)
		}
		b.WriteString(text)
		for _, warning := range e.Warnings {
			b.WriteString("# " + e.Path + ": " + warning + "\n")
		}
	}
	return b.String(), nil
}

// Commit writes and commits the change.
func (g flipGit) Commit(ctx context.Context, planID, namespace, name, from, to string) (string, error) {
	edits, _, err := g.edits(ctx, namespace, name, from, to)
	if err != nil {
		return "", err
	}
	message := git.Message(
		fmt.Sprintf("%s: back up to %s", name, to),
		fmt.Sprintf("The database is recovered from %s, and a new Cluster needs an empty WAL archive.", from), planID)
	state, err := g.repo.State(ctx)
	if err != nil {
		return "", err
	}
	// What is dirty was written ahead of a crash; the preflight has seen a clean tree.
	if err := g.onlyOurs(ctx, state, to); err != nil {
		return "", err
	}
	paths := slices.Clone(state.Dirty)
	for _, e := range edits {
		if !slices.Contains(paths, e.Path) {
			paths = append(paths, e.Path)
		}
	}
	if len(paths) == 0 {
		return state.Head, nil // somebody made the change by hand and committed it
	}
	if err := edit.Write(g.repo.Top(), edits); err != nil {
		return "", err
	}
	return g.repo.Commit(ctx, paths, message)
}

// onlyOurs fails unless every change in the checkout is one that the editor makes: lines that name the new
// server, in place of others or added. Anything else is the operator's own work.
func (g flipGit) onlyOurs(ctx context.Context, state git.State, to string) error {
	if len(state.Dirty) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "drctl-head-")
	if err != nil {
		return fmt.Errorf("look at the checkout's changes: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary folder does no harm
	if err := g.repo.Export(ctx, state.Head, filepath.Join(dir, "tree")); err != nil {
		return err
	}
	for _, path := range state.Dirty {
		before, err1 := os.ReadFile(filepath.Join(dir, "tree", filepath.FromSlash(path)))
		after, err2 := os.ReadFile(filepath.Join(g.repo.Top(), filepath.FromSlash(path)))
		if err1 != nil || err2 != nil || !namesOnly(string(before), string(after), to) {
			return &recovery.Problem{
				What: "commit to the GitOps tree " + g.repo.Top(), Why: path + " has changes that are not drctl's",
				Next: "commit or stash them, then run the command again", Err: recovery.ErrConflict,
			}
		}
	}
	return nil
}

func namesOnly(before, after, to string) bool {
	old, now := difflib.SplitLines(before), difflib.SplitLines(after)
	for _, op := range difflib.NewMatcher(old, now).GetOpCodes() {
		if op.Tag == 'e' {
			continue
		}
		if op.Tag == 'd' || (op.Tag == 'r' && op.I2-op.I1 > op.J2-op.J1) {
			return false
		}
		for _, line := range now[op.J1:op.J2] {
			if !strings.Contains(line, to) {
				return false
			}
		}
	}
	return true
}

// Committed finds the plan's commit.
func (g flipGit) Committed(ctx context.Context, planID string) (string, error) {
	return g.repo.FindCommit(ctx, git.PlanTrailer, planID, commitsBack)
}

// Undo takes the commit back.
func (g flipGit) Undo(ctx context.Context, commit string) error {
	return g.repo.UndoCommit(ctx, commit)
}

// Push pushes the commit.
func (g flipGit) Push(ctx context.Context, commit string) error { return g.repo.Push(ctx, commit) }

// Pushed asks the remote.
func (g flipGit) Pushed(ctx context.Context, commit string) (bool, error) {
	if commit == "" {
		return false, nil
	}
	head, err := g.repo.RemoteHead(ctx)
	if err != nil || head == commit {
		return err == nil, err
	}
	if err := g.repo.Fetch(ctx); err != nil {
		return false, err
	}
	return g.repo.Contains(ctx, head, commit)
}

// Remote builds what the remote's branch holds now.
func (g flipGit) Remote(ctx context.Context, namespace, name string) (string, json.RawMessage, error) {
	head, err := g.repo.RemoteHead(ctx)
	if err != nil {
		return "", nil, err
	}
	if err := g.repo.Fetch(ctx); err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "drctl-remote-")
	if err != nil {
		return "", nil, fmt.Errorf("look at the remote's tree: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a leftover in the temporary folder does no harm
	if err := g.repo.Export(ctx, head, filepath.Join(dir, "tree")); err != nil {
		return "", nil, err
	}
	manifest, err := g.build(ctx, filepath.Join(dir, "tree"), namespace, name)
	return head, manifest, err
}
