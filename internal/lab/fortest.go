package lab

import "testing"

// ForTest gives a stack that lives as long as the test.
func ForTest(t testing.TB) *Stack {
	t.Helper()
	s := NewStack(t.TempDir(), t.Logf)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return s
}
