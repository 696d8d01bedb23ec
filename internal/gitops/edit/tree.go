package edit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/drctl/drctl/internal/recovery"
)

// Edited is a file with its change.
type Edited struct {
	Path          string // below the root, with slashes
	Before, After []byte
	Changes       []Change
	Warnings      []string
}

// FindAndSet finds the file of a GitOps tree that decides which server the Cluster writes to (its
// manifest, or a patch of a kustomization, in a file or in the kustomization itself) and makes it `to`;
// comments about the next recovery follow in every file of the Cluster, as SetServer says. Nothing is
// written: Write does that.
//
// Each candidate is tried in a copy of the tree. It is taken when the tree then builds to a Cluster that
// writes to `to`, bootstraps as before, and when no other object differs. build, when it is not nil, must
// agree: it is given the copy's root, and says to which server the Cluster writes there.
//
// root is the top level of the checkout, since kustomizations refer to folders above them. No edits come
// back when all of it is so already. It fails with *Unrecognised, and with recovery.ErrNotFound when the
// Cluster is not in the tree.
func FindAndSet(
	ctx context.Context, root string, target Target, from, to string, build func(ctx context.Context, root string) (string, error),
) ([]Edited, error) {
	if err := checkNames(target, from, to); err != nil {
		return nil, err
	}
	before, err := buildTree(ctx, root, target)
	if err != nil {
		return nil, err
	}
	files, err := readTree(ctx, root)
	if err != nil {
		return nil, err
	}
	markPatches(files, target)
	s := &search{root: root, target: target, from: from, to: to, build: build, before: before, files: files}
	edits, err := s.run(ctx)
	var why *reason
	if errors.As(err, &why) {
		return nil, unrecognised(why, s.file, target, from, to)
	}
	return edits, err
}

// search is one FindAndSet at work.
type search struct {
	root     string
	target   Target
	from, to string
	build    func(ctx context.Context, root string) (string, error)
	before   *built
	files    []treeFile
	// file and why are where the server seems to stand, and why it could not be set there.
	file string
	why  *reason
}

// candidate is a file whose change may be the one.
type candidate struct {
	file    treeFile
	outcome outcome
}

func (s *search) run(ctx context.Context) ([]Edited, error) {
	candidates := s.candidates()
	if method := s.before.bootstrap(); method != "" {
		return nil, &reason{text: fmt.Sprintf("the tree makes it with bootstrap.%s: whenever it is created anew it would go back to that; put initdb in its place first", method)}
	}
	var accepted []candidate
	switch server := s.before.server(); server {
	case s.to:
	case s.from:
		var err error
		if accepted, err = s.choose(ctx, candidates); err != nil {
			return nil, err
		}
	case "":
		return nil, &reason{text: "the tree makes it without a backup section"}
	default:
		return nil, &reason{text: fmt.Sprintf("the tree makes it write to %s, neither to %s nor to %s", server, s.from, s.to)}
	}
	return s.withComments(accepted), nil
}

// request is what is asked of one file.
func (s *search) request(file treeFile) request {
	return request{
		target: s.target, from: s.from, to: s.to,
		kustomization: file.kustomization, anyName: file.selected, jsonPatch: file.selected,
	}
}

// candidates are the files whose edit changes a value: those that name the server first, then those where
// it would be added.
func (s *search) candidates() []candidate {
	var found []candidate
	for _, file := range s.files {
		made, err := edit(file.content, s.request(file))
		if err != nil {
			var why *reason
			if errors.As(err, &why) && s.why == nil {
				s.file, s.why = file.path, why
			}
			continue
		}
		if slices.ContainsFunc(made.changes, func(c Change) bool { return !c.Commented }) {
			found = append(found, candidate{file: file, outcome: made})
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return !found[i].outcome.inserted && found[j].outcome.inserted })
	return found
}

// choose tries each candidate for itself, then all together.
func (s *search) choose(ctx context.Context, candidates []candidate) ([]candidate, error) {
	trial, err := newTrial(ctx, s.root)
	if err != nil {
		return nil, err
	}
	defer trial.remove()
	attempts := [][]candidate{}
	for _, one := range candidates {
		attempts = append(attempts, []candidate{one})
	}
	if len(candidates) > 1 {
		attempts = append(attempts, candidates)
	}
	refusal := &reason{text: "no file was found in which the server is set"}
	if s.why != nil {
		refusal = s.why
	}
	for _, attempt := range attempts {
		why, err := s.try(ctx, trial, attempt)
		if err != nil {
			return nil, err
		}
		if why == "" {
			return attempt, nil
		}
		if s.why == nil {
			s.file = attempt[0].file.path
			refusal = &reason{text: "changing it there is not enough or too much: " + why, shape: attempt[0].outcome.shape}
		}
	}
	return nil, refusal
}

// try builds the tree with some files changed and says what is wrong with it; nothing when all is right.
func (s *search) try(ctx context.Context, trial *trial, attempt []candidate) (string, error) {
	for _, one := range attempt {
		if err := trial.put(one.file.path, []byte(one.outcome.content)); err != nil {
			return "", err
		}
	}
	why, err := s.judge(ctx, trial.root)
	for _, one := range attempt {
		err = errors.Join(err, trial.put(one.file.path, one.file.content))
	}
	return why, err
}

func (s *search) judge(ctx context.Context, root string) (string, error) {
	after, err := buildTree(ctx, root, s.target)
	if ctx.Err() != nil {
		return "", fmt.Errorf("build the changed tree: %w", ctx.Err())
	}
	if err != nil {
		return "the changed tree does not build", nil //nolint:nilerr // It is why the change is refused.
	}
	if server := after.server(); server != s.to {
		return "the tree would still make it write to " + server, nil
	}
	if why := after.differs(s.before, s.from, s.to); why != "" || s.build == nil {
		return why, nil
	}
	server, err := s.build(ctx, root)
	if err != nil {
		return "", fmt.Errorf("build the changed tree: %w", err)
	}
	if server != s.to {
		return "another build of the tree would make it write to " + server, nil
	}
	return "", nil
}

// withComments completes the edits with the comments of the other files of the Cluster.
func (s *search) withComments(accepted []candidate) []Edited {
	edits := []Edited{}
	for _, file := range s.files {
		at := slices.IndexFunc(accepted, func(c candidate) bool { return c.file.path == file.path })
		var made outcome
		if at >= 0 {
			made = accepted[at].outcome
		} else {
			req := s.request(file)
			req.commentsOnly = true
			var err error
			if made, err = edit(file.content, req); err != nil {
				continue // nothing in it is known well enough to speak of its comments
			}
		}
		if len(made.changes) > 0 {
			edits = append(edits, Edited{Path: file.path, Before: file.content, After: []byte(made.content), Changes: made.changes, Warnings: made.warnings})
		}
	}
	if len(edits) > 0 {
		edits[0].Warnings = append(edits[0].Warnings, s.before.broken...)
	}
	return edits
}

// patchFiles marks the files that kustomizations use as patches with a target.
func patchFiles(files []treeFile, target Target) map[string]bool {
	selected := map[string]bool{}
	for _, file := range files {
		if !file.kustomization {
			continue
		}
		docs := documents(split(string(file.content)))
		for i := range docs {
			for _, entry := range patchesOf(docs[i].root, target) {
				if entry.path != "" && entry.selected {
					selected[filepath.ToSlash(filepath.Join(filepath.Dir(file.path), entry.path))] = true
				}
			}
		}
	}
	return selected
}

func isKustomization(path string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path))
}

func isYAML(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// changedMeanwhile is the problem of a file that somebody else wrote to.
func changedMeanwhile(path string) error {
	return &recovery.Problem{
		What: "write " + path, Why: "it is not any more what it was when the change was planned",
		Next: "see git diff, then run the command again", Err: recovery.ErrDamaged,
	}
}
