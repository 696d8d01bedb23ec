package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/drctl/drctl/internal/recovery"
)

// folderMirror is a mirror in the world's folder. fail, when set, is asked before each call.
type folderMirror struct {
	w    *world
	fail func(call string) error
}

type mirrored struct {
	Plan    Plan
	Journal string
}

func (m *folderMirror) path(id string) string { return filepath.Join(m.w.dir, "mirror-"+id+".json") }

func (m *folderMirror) refuse(call string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(call)
}

func (m *folderMirror) Save(_ context.Context, p Plan, journal []byte) error {
	if err := m.refuse("save"); err != nil {
		return err
	}
	m.w.at("before save")
	m.w.must(os.WriteFile(m.path(p.ID), m.w.must2(json.Marshal(mirrored{p, string(journal)})), 0o600))
	m.w.at("after save")
	return nil
}

func (m *folderMirror) Load(_ context.Context, id string) (Plan, []byte, error) {
	if err := m.refuse("load"); err != nil {
		return Plan{}, nil, err
	}
	content, err := os.ReadFile(m.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return Plan{}, nil, recovery.ErrNotFound
	}
	var found mirrored
	m.w.must(err)
	m.w.must(json.Unmarshal(content, &found))
	return found.Plan, []byte(found.Journal), nil
}

func (m *folderMirror) List(context.Context) ([]Plan, error) { return nil, nil }

func (m *folderMirror) Remove(_ context.Context, id string) error {
	if err := m.refuse("remove"); err != nil {
		return err
	}
	m.w.at("before remove")
	err := os.Remove(m.path(id))
	m.w.at("after remove")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// folderLock is a lock in the world's folder: a holder with the same plan is a process that died.
type folderLock struct {
	w    *world
	lost chan struct{}
}

func (l *folderLock) path() string { return filepath.Join(l.w.dir, "lease") }

func (l *folderLock) Acquire(_ context.Context, p Plan, takeover bool) (Held, error) {
	holder, err := os.ReadFile(l.path())
	if err == nil && string(holder) != p.ID && !takeover {
		return nil, &recovery.Problem{What: "lock " + p.Target, Why: "held by " + string(holder), Err: ErrBusy}
	}
	l.w.at("before lease")
	l.w.must(os.WriteFile(l.path(), []byte(p.ID), 0o600))
	l.w.at("after lease")
	return l, nil
}

func (l *folderLock) Release(context.Context) error {
	l.w.at("before release")
	err := os.Remove(l.path())
	l.w.at("after release")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

func (l *folderLock) Lost() <-chan struct{} { return l.lost }
