package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// StartRecovery starts a recovery lab for one test.
func StartRecovery(t testing.TB, o RecoveryOptions) *RecoveryLab {
	t.Helper()
	l, err := UpRecovery(t.Context(), ForTest(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// SharedRecovery is one recovery lab for several tests of a package, started when the first of them asks.
// They leave RecoveryCluster healthy, or work on Clusters of their own beside it. Declare it beside
// TestMain, which must end with Close.
type SharedRecovery struct {
	once  sync.Once
	stack *Stack
	lab   *RecoveryLab
	err   error
}

// Lab gives the shared lab.
func (s *SharedRecovery) Lab(t testing.TB) *RecoveryLab {
	t.Helper()
	// The lab outlives the test that happens to be the first, and so must its context.
	s.once.Do(func() { s.start(context.WithoutCancel(t.Context())) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.lab
}

func (s *SharedRecovery) start(ctx context.Context) {
	dir, err := os.MkdirTemp("", "drctl-recovery-")
	if err != nil {
		s.err = err
		return
	}
	s.stack = NewStack(dir, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	s.lab, s.err = UpRecovery(ctx, s.stack, RecoveryOptions{Users: []string{ReaderUser, NobodyUser}})
}

// Close stops the lab, if one was started.
func (s *SharedRecovery) Close() {
	if s.stack == nil {
		return
	}
	if err := s.stack.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close the recovery lab:", err)
	}
	if err := os.RemoveAll(s.stack.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the recovery lab:", err)
	}
}
