package nfs

import (
	"testing"

	"github.com/drctl/drctl/internal/lab"
)

// NewTestRepository is newRepository for the tests that come from outside.
func NewTestRepository(t *testing.T, stack *lab.Stack) string {
	t.Helper()
	return newRepository(t, stack)
}
