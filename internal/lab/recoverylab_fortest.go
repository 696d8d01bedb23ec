package lab

import "testing"

// StartRecovery starts a recovery lab for one test.
func StartRecovery(t testing.TB, o RecoveryOptions) *RecoveryLab {
	t.Helper()
	l, err := UpRecovery(t.Context(), ForTest(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
