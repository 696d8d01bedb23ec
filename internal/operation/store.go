package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/gofrs/flock"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	planFile    = "plan.json"
	journalFile = "journal.jsonl"
	lockFile    = "lock"

	folderMode = 0o700
	fileMode   = 0o600
)

// Store keeps plans in a folder, one folder a plan: plan.json, journal.jsonl and a lock.
type Store struct {
	dir string
	// crash is called around everything that reaches the disk, where a test wants to fall over.
	crash func(point string)
}

// NewStore keeps plans below dir, which is made when the first plan is written.
func NewStore(dir string) *Store { return &Store{dir: dir} }

// DefaultDir is $XDG_STATE_HOME/drctl/plans, else ~/.local/state/drctl/plans. It is empty, and a Store
// on it refuses, when neither is set.
// Source: XDG Base Directory Specification: a relative path is to be ignored.
func DefaultDir(getenv func(string) string) string {
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home := getenv("HOME")
		if home == "" {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "drctl", "plans")
}

// Dir is the folder of one plan.
func (s *Store) Dir(id string) string { return filepath.Join(s.dir, id) }

// Create writes a new plan and an empty journal, and holds its lock until Close.
func (s *Store) Create(plan Plan) (*Journal, error) { return s.write(plan, nil) }

// Adopt writes a plan and a journal that somebody else began. An unfinished plan of that ID must not be
// here already.
func (s *Store) Adopt(plan Plan, journal []byte) (*Journal, error) { return s.write(plan, journal) }

func (s *Store) write(plan Plan, raw []byte) (*Journal, error) {
	plan = plan.complete()
	if err := plan.Validate(); err != nil {
		return nil, fmt.Errorf("write plan %s: %w", plan.ID, err)
	}
	if s.dir == "" {
		return nil, &recovery.Problem{
			What: "write plan " + plan.ID, Why: "there is no folder for it", Next: "set HOME or XDG_STATE_HOME", Err: recovery.ErrNotFound,
		}
	}
	dir := s.Dir(plan.ID)
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, s.problem("write", plan.ID, err)
	}
	lock, err := s.lock(plan.ID)
	if err != nil {
		return nil, err
	}
	j := &Journal{Plan: plan, dir: dir, lock: lock, crash: s.crash}
	if err := s.fill(j, raw); err != nil {
		_ = lock.Unlock()
		return nil, s.problem("write", plan.ID, err)
	}
	return j, nil
}

// fill writes the files of a new plan. The plan comes last: a folder without one is no plan.
func (s *Store) fill(j *Journal, raw []byte) error {
	if _, err := os.Stat(filepath.Join(j.dir, planFile)); err == nil {
		return fs.ErrExist
	}
	content, err := json.MarshalIndent(j.Plan, "", "  ")
	if err != nil {
		return err
	}
	if err := j.replace(raw); err != nil {
		return err
	}
	j.at("plan")
	if err := writeFile(filepath.Join(j.dir, planFile), append(content, '\n')); err != nil {
		return err
	}
	j.at("plan written")
	return syncFolder(s.dir)
}

// Open opens a plan to go on with it, and holds its lock until Close: ErrBusy when another process has
// it, recovery.ErrNotFound when there is none, recovery.ErrDamaged when it cannot be trusted.
func (s *Store) Open(id string) (*Journal, error) {
	if !s.exists(id) {
		return nil, notFound(id)
	}
	lock, err := s.lock(id)
	if err != nil {
		return nil, err
	}
	plan, raw, err := s.read(id)
	if err != nil {
		_ = lock.Unlock()
		return nil, err
	}
	j := &Journal{Plan: plan, dir: s.Dir(id), lock: lock, crash: s.crash}
	if err := j.open(raw); err != nil {
		_ = lock.Unlock()
		return nil, s.problem("open", id, err)
	}
	return j, nil
}

func (s *Store) exists(id string) bool {
	if !validID(id) {
		return false
	}
	_, err := os.Stat(filepath.Join(s.Dir(id), planFile))
	return err == nil
}

func (s *Store) lock(id string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(s.Dir(id), lockFile))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, s.problem("lock", id, err)
	}
	if !locked {
		return nil, &recovery.Problem{
			What: "open plan " + id, Why: "another drctl on this computer is working on it",
			Next: "let it finish, or end it with Ctrl-C: it can be resumed", Err: ErrBusy,
		}
	}
	return lock, nil
}

// read reads a plan and the whole lines of its journal.
func (s *Store) read(id string) (Plan, []byte, error) {
	content, err := os.ReadFile(filepath.Join(s.Dir(id), planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Plan{}, nil, notFound(id)
	}
	if err != nil {
		return Plan{}, nil, s.problem("read", id, err)
	}
	plan, err := ParsePlan(content)
	if err != nil {
		return Plan{}, nil, s.problem("read", id, err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Dir(id), journalFile))
	if err != nil {
		return Plan{}, nil, s.problem("read", id, errors.Join(recovery.ErrDamaged, err))
	}
	_, whole, err := ParseJournal(raw)
	if err != nil {
		return Plan{}, nil, s.problem("read", id, fmt.Errorf("%s: %w", journalFile, err))
	}
	return plan, raw[:whole], nil
}

// ParsePlan reads a plan.json.
func ParsePlan(content []byte) (Plan, error) {
	var plan Plan
	if err := json.Unmarshal(content, &plan); err != nil {
		return Plan{}, fmt.Errorf("%s: %w: %w", planFile, recovery.ErrDamaged, err)
	}
	// Indentation is not part of the operation's data.
	if plan.Params != nil {
		var compact bytes.Buffer
		if err := json.Compact(&compact, plan.Params); err != nil {
			return Plan{}, fmt.Errorf("%s: %w: %w", planFile, recovery.ErrDamaged, err)
		}
		plan.Params = compact.Bytes()
	}
	if err := plan.Validate(); err != nil {
		return Plan{}, fmt.Errorf("%s: %w", planFile, err)
	}
	return plan, nil
}

// List reads every plan, the newest first. A plan that cannot be read is a gap and hides no other.
func (s *Store) List() ([]PlanView, recovery.Gaps, error) {
	views := []PlanView{}
	folders, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return views, nil, nil
	}
	if err != nil {
		return nil, nil, s.problem("list", "", err)
	}
	var gaps recovery.Gaps
	for _, folder := range folders {
		if !s.exists(folder.Name()) {
			continue
		}
		view, err := s.View(folder.Name())
		if err != nil {
			gaps.Add("read plan "+folder.Name(), err)
			continue
		}
		views = append(views, view)
	}
	sort.SliceStable(views, func(i, j int) bool { return views[i].CreationTime.After(views[j].CreationTime) })
	return views, gaps, nil
}

// View reads one plan and its state, without its lock.
func (s *Store) View(id string) (PlanView, error) {
	if !s.exists(id) {
		return PlanView{}, notFound(id)
	}
	plan, raw, err := s.read(id)
	if err != nil {
		return PlanView{}, err
	}
	return NewView(plan, raw)
}

// Unfinished lists the plans that are neither finished nor aborted. A plan that cannot be read is a gap:
// it may be unfinished, too.
func (s *Store) Unfinished() ([]PlanView, recovery.Gaps, error) {
	views, gaps, err := s.List()
	unfinished := []PlanView{}
	for _, view := range views {
		if view.Unfinished() {
			unfinished = append(unfinished, view)
		}
	}
	return unfinished, gaps, err
}

func notFound(id string) error {
	return &recovery.Problem{What: "open plan " + id, Why: "there is no such plan on this computer", Next: "list them: drctl plans", Err: recovery.ErrNotFound}
}

func (s *Store) problem(action, id string, err error) error {
	what := action + " plan " + id + " in " + s.Dir(id)
	if id == "" {
		what = action + " the plans in " + s.dir
	}
	next := "make the folder writable, with space left, or set XDG_STATE_HOME"
	switch {
	case errors.Is(err, recovery.ErrUnsupported):
		next = "use the drctl that wrote it, or a newer one"
	case errors.Is(err, recovery.ErrDamaged):
		next = "go on from the copy in the cluster: move that folder away, then drctl resume " + id + " --takeover"
	}
	return &recovery.Problem{What: what, Why: err.Error(), Next: next, Err: err}
}
