package s3

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct{ text, bucket, prefix string }{
		{"s3://postgres-backups/cnpg/immich", "postgres-backups", "cnpg/immich"},
		{"s3://postgres-backups/cnpg/immich/", "postgres-backups", "cnpg/immich"},
		{"s3://postgres-backups", "postgres-backups", ""},
		{"s3://postgres-backups/", "postgres-backups", ""},
		{"s3://b//cnpg", "b", "cnpg"},
	} {
		bucket, prefix, err := ParseURL(c.text)
		require.NoError(t, err, c.text)
		require.Equal(t, []string{c.bucket, c.prefix}, []string{bucket, prefix}, c.text)
	}
	for _, text := range []string{"", "postgres-backups/cnpg", "https://host/bucket", "s3://", "s3:///x", "s3://b/x//y", "s3://CANARY:CANARY@b/x", "s3://b?x/y"} {
		_, _, err := ParseURL(text)
		var p *recovery.Problem
		require.ErrorAs(t, err, &p, text)
		require.ErrorIs(t, err, recovery.ErrUsage, text)
		require.Contains(t, p.Next, "s3://BUCKET/PATH")
		require.NotContains(t, err.Error(), "CANARY")
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		says   string
	}{
		"no scheme":       {Config{EndpointURL: "minio:9000"}, "http://"},
		"no host":         {Config{EndpointURL: "https://"}, "no host"},
		"password in URL": {Config{EndpointURL: "https://me:CANARY@host"}, "AWS_SECRET_ACCESS_KEY"},
		"not a URL":       {Config{EndpointURL: "http://CANARY:x y@%zz"}, "not a URL"},
		"half a key":      {Config{EndpointURL: "http://host", AccessKeyID: "CANARY"}, "AWS_SECRET_ACCESS_KEY is missing"},
		"other half":      {Config{EndpointURL: "http://host", SecretAccessKey: "CANARY"}, "AWS_ACCESS_KEY_ID is missing"},
		"no certificate":  {Config{EndpointURL: "http://host", CABundle: []byte("CANARY")}, "AWS_CA_BUNDLE"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(t.Context(), c.config)
			require.ErrorIs(t, err, recovery.ErrUsage)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "CANARY")
		})
	}
}
