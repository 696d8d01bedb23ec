package edit

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"unicode/utf8"

	"github.com/drctl/drctl/internal/recovery"
)

// Target names the object to change.
type Target struct {
	Kind      string // Cluster, of the API group postgresql.cnpg.io
	Namespace string // a manifest without a namespace matches too, since kustomize or Argo CD sets it
	Name      string
}

// String is "Cluster databases/media".
func (t Target) String() string { return fmt.Sprintf("%s %s/%s", t.Kind, t.Namespace, t.Name) }

// Change is one value that differs.
type Change struct {
	Line      int    // 1-based, in the new content
	Path      string // spec.backup.barmanObjectStore.serverName
	Old       string // empty where the line was inserted
	New       string
	Commented bool // it stands in a comment
}

// Result is an edited file.
type Result struct {
	Content []byte
	// Changes are empty when all of it was so already; Content is the input then.
	Changes []Change
	// Warnings say what was left alone though it may be meant to be changed.
	Warnings []string
}

// request is what is asked of an edit.
type request struct {
	target   Target
	from, to string
	// anyName takes a Cluster of any name: in a patch with a target, kustomize ignores its own name.
	anyName bool
	// commentsOnly leaves values alone.
	commentsOnly bool
	// kustomization is set for a kustomization file, jsonPatch where a list is a JSON 6902 patch of the target.
	kustomization, jsonPatch bool
}

// SetServer makes the manifest of a Cluster write its backups to the server `to`, where it writes to
// `from` now: spec.backup.barmanObjectStore.serverName, or parameters.serverName of the plugin
// barman-cloud.cloudnative-pg.io. Where there is no serverName and `from` is the default (the Cluster's
// name), a line is inserted.
//
// Two more places follow, so that the next recovery by hand reads the server that was written last:
//   - entries of externalClusters in comments, with serverName, that name the same store (destinationPath,
//     or barmanObjectName) whatever their server is, or that name no store and the server `from`;
//   - live entries of externalClusters of the same store that read `from` and that nothing refers to: under
//     bootstrap.initdb they are leftovers of a recovery. What a replica or an import uses is left alone.
//
// What already is `to` stays, so twice is once. It fails with *Unrecognised, and for names that can't be
// servers with recovery.ErrUsage.
func SetServer(content []byte, target Target, from, to string) (Result, error) {
	if err := checkNames(target, from, to); err != nil {
		return Result{}, err
	}
	made, err := edit(content, request{target: target, from: from, to: to})
	if err == nil && !made.decides {
		err = &reason{text: "it does not hold " + target.String() + " with a backup section", shape: made.shape}
	}
	var why *reason
	if errors.As(err, &why) {
		return Result{}, unrecognised(why, "", target, from, to)
	}
	if err != nil {
		return Result{}, err
	}
	return Result{Content: []byte(made.content), Changes: made.changes, Warnings: made.warnings}, nil
}

// checkNames refuses servers that Barman could not have or that YAML would not read as text.
func checkNames(target Target, from, to string) error {
	usable := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)
	for _, name := range []string{from, to} {
		if !usable.MatchString(name) {
			return &recovery.Problem{
				What: "set the backup server of " + target.String(), Why: fmt.Sprintf("%q can't be the name of a server", name),
				Next: "use letters, digits, dots and hyphens", Err: recovery.ErrUsage,
			}
		}
	}
	if from == to {
		return &recovery.Problem{
			What: "set the backup server of " + target.String(), Why: "old and new server are both " + to,
			Next: "give another --archive-server-name", Err: recovery.ErrUsage,
		}
	}
	return nil
}

// outcome is an edited text.
type outcome struct {
	content  string
	splices  []splice // in places of the old content, in order
	changes  []Change
	warnings []string
	// decides is set when the text says which server the target writes to; inserted when a line is to say it.
	decides, inserted bool
	shape             shape
}

// edit changes one text: the documents of the target in it.
func edit(content []byte, req request) (outcome, error) {
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return outcome{}, &reason{text: "it is no UTF-8 text"}
	}
	whole := split(string(content))
	p := &planner{request: req}
	docs := documents(whole)
	for i := range docs {
		if err := p.document(&docs[i]); err != nil {
			return outcome{}, err
		}
	}
	return p.make(whole, docs)
}

// change is one intended edit.
type change struct {
	splice
	Change
	// intend makes the parsed tree what it is to be; nil for a comment.
	intend func()
}

// make applies what was planned. Each edit must give the tree that is intended, to the node; a supposed
// comment that changes the tree stood within a value, and is left out.
func (p *planner) make(whole text, docs []document) (outcome, error) {
	made := outcome{decides: p.decides, inserted: p.inserted, shape: p.shape, warnings: p.warnings}
	var accepted []change
	if !p.commentsOnly {
		accepted = p.values
		for _, value := range p.values {
			value.intend()
		}
	}
	if !sameDocuments(docs, documents(split(whole.apply(splicesOf(accepted))))) {
		return outcome{}, &reason{text: "the text does not stand where the YAML parser says", shape: p.shape}
	}
	for _, comment := range p.comments {
		more := append(accepted[:len(accepted):len(accepted)], comment)
		if sameDocuments(docs, documents(split(whole.apply(splicesOf(more))))) {
			accepted = more
		}
	}
	sort.SliceStable(accepted, func(i, j int) bool { return accepted[i].before(accepted[j].splice) })
	made.splices = splicesOf(accepted)
	made.content = whole.apply(made.splices)
	inserted := 0
	for _, c := range accepted {
		if c.newLine {
			inserted++
			c.Line--
		}
		c.Line += inserted
		made.changes = append(made.changes, c.Change)
	}
	return made, nil
}

// before orders splices by their place.
func (s splice) before(other splice) bool {
	if s.line != other.line {
		return s.line < other.line
	}
	return s.start < other.start
}

func splicesOf(changes []change) []splice {
	splices := make([]splice, 0, len(changes))
	for _, c := range changes {
		splices = append(splices, c.splice)
	}
	sort.SliceStable(splices, func(i, j int) bool { return splices[i].before(splices[j]) })
	return splices
}
