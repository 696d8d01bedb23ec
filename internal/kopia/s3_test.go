package kopia_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/kopia"
	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// bucket is an S3 server that holds one repository, as s3://volsync-backups/kopia.
func bucket(t *testing.T) (*lab.MinIO, *peer, kopia.Options) {
	t.Helper()
	stack := lab.ForTest(t)
	server, err := stack.MinIO(t.Context())
	require.NoError(t, err)
	k, err := stack.Kopia(t.Context())
	require.NoError(t, err)
	require.NoError(t, server.MakeBucket(t.Context(), "volsync-backups"))
	p := &peer{Kopia: k}
	p.run(t, "repository", "create", "s3", "--bucket=volsync-backups", "--prefix=kopia/", "--disable-tls",
		"--endpoint="+strings.TrimPrefix(server.EndpointURL, "http://"), "--access-key="+server.AccessKeyID, "--secret-access-key="+server.SecretAccessKey)
	return server, p, kopia.Options{Password: password(p.Password), S3: kopia.S3Options{
		EndpointURL: server.EndpointURL, Region: "us-east-1", AccessKeyID: server.AccessKeyID, SecretAccessKey: server.SecretAccessKey,
	}}
}

func TestS3(t *testing.T) {
	t.Parallel()
	server, p, o := bucket(t)
	live(t, p)
	const repository = "s3://volsync-backups/kopia"
	want := p.list(t)
	list := func(text string, o kopia.Options) ([]row, error) {
		snapshots, gaps, err := listOnce(t.Context(), text, o)
		require.Empty(t, gaps)
		return rowsOf(snapshots), err
	}
	for _, text := range []string{repository, repository + "/"} {
		got, err := list(text, o)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	}

	target, err := url.Parse(server.EndpointURL)
	require.NoError(t, err)
	secure := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // what the client signed
	}})
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	secure.StartTLS()
	t.Cleanup(secure.Close)
	t.Run("TLS with its CA", func(t *testing.T) {
		trusting := o
		trusting.S3.EndpointURL = secure.URL
		trusting.S3.CABundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
		got, err := list(repository, trusting)
		require.NoError(t, err)
		require.ElementsMatch(t, want, got)
	})

	for name, test := range map[string]struct {
		text      string
		change    func(*kopia.S3Options)
		kind      error
		why, next string
	}{
		"unknown key":    {repository, func(o *kopia.S3Options) { o.AccessKeyID = "CANARY-OTHER" }, recovery.ErrDenied, "does not know the access key", "AWS_ACCESS_KEY_ID"},
		"wrong secret":   {repository, func(o *kopia.S3Options) { o.SecretAccessKey = "CANARY-OTHER" }, recovery.ErrDenied, "secret key does not belong", "AWS_SECRET_ACCESS_KEY"},
		"no keys":        {repository, func(o *kopia.S3Options) { o.AccessKeyID = "" }, recovery.ErrUsage, "no S3 keys", "AWS_ACCESS_KEY_ID"},
		"no such bucket": {"s3://other/kopia", func(*kopia.S3Options) {}, recovery.ErrNotFound, "there is no bucket other", "--endpoint-url"},
		"no such prefix": {"s3://volsync-backups/other", func(*kopia.S3Options) {}, recovery.ErrNotFound, "no kopia.repository", "prefix in --repo"},
		"unknown CA":     {repository, func(o *kopia.S3Options) { o.EndpointURL = secure.URL }, recovery.ErrUnreachable, "no known authority", "AWS_CA_BUNDLE"},
		"TLS to plain":   {repository, func(o *kopia.S3Options) { o.EndpointURL = strings.Replace(server.EndpointURL, "http:", "https:", 1) }, recovery.ErrUnreachable, "does not speak TLS", "http://"},
		"plain to TLS":   {repository, func(o *kopia.S3Options) { o.EndpointURL = strings.Replace(secure.URL, "https:", "http:", 1) }, recovery.ErrUnreachable, "", "--endpoint-url"},
		"no address":     {repository, func(o *kopia.S3Options) { o.EndpointURL = "minio:9000" }, recovery.ErrUsage, "endpoint", "https://HOST"},
		"a path":         {repository, func(o *kopia.S3Options) { o.EndpointURL += "/s3" }, recovery.ErrUsage, "has a path", "https://HOST"},
		"no certificate": {repository, func(o *kopia.S3Options) { o.CABundle = []byte("text") }, recovery.ErrUsage, "holds no certificate", "PEM"},
		"no such host":   {repository, func(o *kopia.S3Options) { o.EndpointURL = "http://minio.invalid:9000" }, recovery.ErrUnreachable, "", "--endpoint-url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := o
			test.change(&changed.S3)
			_, err := list(test.text, changed)
			requireProblem(t, err, test.kind, test.why, test.next)
			require.ErrorContains(t, err, test.text)
		})
	}
}

func TestS3WithoutServer(t *testing.T) {
	t.Parallel()
	server, p, o := bucket(t)
	require.NoError(t, server.Process.Kill())
	_, _, err := listOnce(t.Context(), "s3://volsync-backups/kopia", o)
	requireProblem(t, err, recovery.ErrUnreachable, "connection refused", "--endpoint-url")
	require.NotContains(t, err.Error(), p.Password)
}
