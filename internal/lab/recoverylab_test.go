package lab_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

func TestRecoveryLabComesUp(t *testing.T) {
	begin := time.Now()
	s := lab.ForTest(t)
	l, err := lab.UpRecovery(t.Context(), s, lab.RecoveryOptions{})
	require.NoError(t, err)
	t.Logf("up in %s, backup %s", time.Since(begin), l.BackupID)
	count, err := l.SQL(t.Context(), "select count(*) from item")
	require.NoError(t, err)
	require.Equal(t, "100", count)
	inv, err := l.Inventory(t.Context())
	require.NoError(t, err)
	t.Log(inv)
}
