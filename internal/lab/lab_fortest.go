package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// The users that a lab of Start or Shared knows besides AdminUser.
const (
	// ReaderUser is bound by tests to docs/rbac-read.yaml and nothing else.
	ReaderUser = "reader"
	// NobodyUser has no right at all.
	NobodyUser = "nobody"
)

// Start starts the whole lab for one test. Tests that only read had better share one, see Shared.
func Start(t testing.TB) *Lab {
	t.Helper()
	l, err := Up(t.Context(), ForTest(t), UpOptions{Users: []string{ReaderUser, NobodyUser}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Shared is one lab for all tests of a package that do not change it, started when the first of them
// asks. Declare it beside TestMain, which must be: func TestMain(m *testing.M) { shared.Run(m) }.
type Shared struct {
	once  sync.Once
	stack *Stack
	lab   *Lab
	err   error
}

// Run runs the package's tests and then stops the lab, if one was started.
func (s *Shared) Run(m *testing.M) {
	m.Run()
	if s.stack == nil {
		return
	}
	if err := s.stack.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close the shared lab:", err)
	}
	if err := os.RemoveAll(s.stack.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the shared lab:", err)
	}
}

// Lab gives the shared lab.
func (s *Shared) Lab(t testing.TB) *Lab {
	t.Helper()
	// The lab outlives the test that happens to be the first, and so must its context.
	s.once.Do(func() { s.start(context.WithoutCancel(t.Context())) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.lab
}

func (s *Shared) start(ctx context.Context) {
	dir, err := os.MkdirTemp("", "drctl-lab-")
	if err != nil {
		s.err = err
		return
	}
	s.stack = NewStack(dir, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	s.lab, s.err = Up(ctx, s.stack, UpOptions{Users: []string{ReaderUser, NobodyUser}})
}
