package lab_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
)

func TestMissingPackagesAreNamed(t *testing.T) {
	s := lab.ForTest(t)
	t.Setenv("PATH", t.TempDir())
	_, err := s.Postgres(t.Context(), lab.PostgresOptions{})
	require.ErrorContains(t, err, "barman-cli-cloud")
	require.ErrorContains(t, err, "apt-get install")
	_, err = s.BarmanList(t.Context(), &lab.MinIO{}, "s3://bucket/path", "server")
	require.ErrorContains(t, err, "barman-cli-cloud")
}

func TestServersThatBarmanCannotWriteAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		server lab.BarmanServer
		want   string
	}{
		"compression":    {lab.BarmanServer{DestinationPath: "s3://bucket", ServerName: "v1", Compression: "snappy"}, "python3-snappy"},
		"no destination": {lab.BarmanServer{ServerName: "v1"}, "not a Barman server"},
		"no server":      {lab.BarmanServer{DestinationPath: "s3://bucket"}, "not a Barman server"},
	} {
		t.Run(name, func(t *testing.T) {
			s := lab.ForTest(t)
			_, err := s.Postgres(t.Context(), lab.PostgresOptions{Archive: &tt.server})
			require.ErrorContains(t, err, tt.want)
			_, err = s.RecoverPostgres(t.Context(), lab.PostgresRecovery{From: tt.server})
			require.ErrorContains(t, err, tt.want)
		})
	}
}
