package s3

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	canaryKey    = "CANARY-KEY-ID"
	canarySecret = "CANARY-SECRET"
)

// clientFor speaks to a stand-in server, with short pauses between tries.
func clientFor(t *testing.T, endpoint string, change ...func(*Config)) *Client {
	t.Helper()
	c := Config{EndpointURL: endpoint, AccessKeyID: canaryKey, SecretAccessKey: canarySecret}
	for _, f := range change {
		f(&c)
	}
	client, err := newClient(t.Context(), c, time.Millisecond)
	require.NoError(t, err)
	return client
}

func server(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

// requireProblem checks the kind and the words of a failure, and that no key is in it.
func requireProblem(t *testing.T, err, kind error, says ...string) {
	t.Helper()
	var p *recovery.Problem
	require.ErrorAs(t, err, &p)
	require.ErrorIs(t, err, kind)
	require.NotEmpty(t, p.Next)
	for _, text := range says {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), "CANARY")
}

func listing(t *testing.T, client *Client) error {
	t.Helper()
	_, err := client.ListAll(t.Context(), recovery.ObjectQuery{Bucket: "bucket", Prefix: "cnpg/"})
	return err
}

func refuse(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>said %s</Message></Error>`, code, canarySecret)
	}
}

func TestAnswersOfTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		code     string
		kind     error
		says     string
		requests int64
	}{
		"unknown key":    {403, "InvalidAccessKeyId", recovery.ErrDenied, "AWS_ACCESS_KEY_ID", 1},
		"wrong secret":   {403, "SignatureDoesNotMatch", recovery.ErrDenied, "AWS_SECRET_ACCESS_KEY", 1},
		"no right":       {403, "AccessDenied", recovery.ErrDenied, "s3:ListBucket", 1},
		"old token":      {400, "InvalidToken", recovery.ErrDenied, "AWS_SESSION_TOKEN", 1},
		"unknown 403":    {403, "Whatever", recovery.ErrDenied, "403 Whatever", 1},
		"no bucket":      {404, "NoSuchBucket", recovery.ErrNotFound, "--destination-path", 1},
		"other region":   {400, "AuthorizationHeaderMalformed", recovery.ErrNotFound, "AWS_REGION", 1},
		"busy":           {503, "SlowDown", recovery.ErrUnreachable, "too busy", mostAttempts},
		"internal error": {500, "InternalError", recovery.ErrUnreachable, "500 InternalError", mostAttempts},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientFor(t, server(t, refuse(c.status, c.code)))
			requireProblem(t, listing(t, client), c.kind, c.says, "list s3://bucket/cnpg/")
			require.Equal(t, c.requests, client.Requests())
		})
	}
}

const onePage = `<ListBucketResult><IsTruncated>%t</IsTruncated>%s<Contents><Key>cnpg/%s</Key><Size>7</Size>` +
	`<LastModified>2026-11-23T02:33:20.957Z</LastModified></Contents><CommonPrefixes><Prefix>cnpg/f/</Prefix></CommonPrefixes></ListBucketResult>`

func TestListingRecoversFromBusyServer(t *testing.T) {
	var seen atomic.Int64
	client := clientFor(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) < mostAttempts {
			refuse(503, "SlowDown")(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, onePage, false, "", "a")
	}))
	page, err := client.ListAll(t.Context(), recovery.ObjectQuery{Bucket: "b"})
	require.NoError(t, err)
	require.Equal(t, []string{"cnpg/f/"}, page.Folders)
	require.Equal(t, []recovery.Object{{Key: "cnpg/a", SizeBytes: 7, ModifiedAt: time.Date(2026, 11, 23, 2, 33, 20, 957e6, time.UTC)}}, page.Objects)
}

func TestListingThatStopsHalfWay(t *testing.T) {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continuation-token") == "" {
			_, _ = fmt.Fprintf(w, onePage, true, "<NextContinuationToken>t</NextContinuationToken>", "a")
			return
		}
		// Half an answer, then the connection is gone.
		w.Header().Set("Content-Length", "10000")
		_, _ = io.WriteString(w, "<ListBucketResult><Contents><Key>cn")
		s.CloseClientConnections()
	}))
	t.Cleanup(s.Close)
	client := clientFor(t, s.URL)
	page, err := client.ListAll(t.Context(), recovery.ObjectQuery{Bucket: "bucket", Prefix: "cnpg/"})
	requireProblem(t, err, recovery.ErrUnreachable, "in the middle of its answer")
	require.Len(t, page.Objects, 1, "what was read is given")
	require.Equal(t, int64(1+mostAttempts), client.Requests())
}

func TestListingWithoutContinuation(t *testing.T) {
	client := clientFor(t, server(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, onePage, true, "", "a") }))
	requireProblem(t, listing(t, client), recovery.ErrUnsupported, "more follows")
}

func TestNotAnS3Server(t *testing.T) {
	client := clientFor(t, server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><p>console</html>")
	}))
	requireProblem(t, listing(t, client), recovery.ErrUnsupported, "--endpoint-url")
}

func TestProxyInFrontOfADeadServer(t *testing.T) {
	for _, body := range []string{"<html><h1>502 Bad Gateway</h1></html>", ""} {
		client := clientFor(t, server(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, body)
		}))
		requireProblem(t, listing(t, client), recovery.ErrUnreachable, "502")
		require.Equal(t, int64(mostAttempts), client.Requests())
	}
}

func TestServerGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	client := clientFor(t, address)
	requireProblem(t, listing(t, client), recovery.ErrUnreachable, "connection refused", address, "--endpoint-url")
	require.LessOrEqual(t, client.Requests(), int64(mostAttempts))
}

func TestUnknownHost(t *testing.T) {
	requireProblem(t, listing(t, clientFor(t, "http://s3.invalid")), recovery.ErrUnreachable, "s3.invalid")
}

func TestSilentServer(t *testing.T) {
	gone := make(chan struct{})
	client := clientFor(t, server(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-gone:
		case <-r.Context().Done():
		}
	}))
	defer close(gone)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.List(ctx, recovery.ObjectQuery{Bucket: "b"})
	requireProblem(t, err, recovery.ErrUnreachable, "did not answer in time")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestCancelIsNoProblemOfTheServer(t *testing.T) {
	client := clientFor(t, "http://127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client.List(ctx, recovery.ObjectQuery{Bucket: "b"})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, recovery.ErrUnreachable)
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, onePage, false, "", "a") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})

	client := clientFor(t, s.URL)
	requireProblem(t, listing(t, client), recovery.ErrUnreachable, "authority", "AWS_CA_BUNDLE")
	require.Equal(t, int64(1), client.Requests(), "a certificate does not get better by asking again")
	require.NoError(t, listing(t, clientFor(t, s.URL, func(c *Config) { c.CABundle = ca })))

	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, ca, 0o600))
	t.Setenv("AWS_CA_BUNDLE", file)
	require.NoError(t, listing(t, clientFor(t, s.URL)), "the SDK's own variable works as the message says")

	plain := "http" + strings.TrimPrefix(s.URL, "https")
	requireProblem(t, listing(t, clientFor(t, plain)), recovery.ErrUnsupported, "https")
	open := server(t, func(http.ResponseWriter, *http.Request) {})
	requireProblem(t, listing(t, clientFor(t, "https"+strings.TrimPrefix(open, "http"))), recovery.ErrUnreachable, "plain http")
}

func TestKeysComeFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	var authorization atomic.Value
	endpoint := server(t, func(w http.ResponseWriter, r *http.Request) {
		authorization.Store(r.Header.Get("Authorization") + " " + r.URL.Path)
		_, _ = fmt.Fprintf(w, onePage, false, "", "a")
	})
	bare := func(c *Config) { c.AccessKeyID, c.SecretAccessKey = "", "" }
	requireProblem(t, listing(t, clientFor(t, endpoint, bare)), recovery.ErrDenied, "no S3 keys", "AWS_ACCESS_KEY_ID")

	t.Setenv("AWS_ACCESS_KEY_ID", "FROM-ENVIRONMENT")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	require.NoError(t, listing(t, clientFor(t, endpoint, bare)))
	require.Contains(t, authorization.Load(), "FROM-ENVIRONMENT")
	require.Contains(t, authorization.Load(), "/us-east-1/s3/", "the region's default")
	require.Contains(t, authorization.Load(), " /bucket", "buckets are addressed by path")
}

func TestGetRepeatsWhatBrokeOff(t *testing.T) {
	var seen atomic.Int64
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "6")
		if seen.Add(1) == 1 {
			_, _ = io.WriteString(w, "abc")
			w.(http.Flusher).Flush()
			s.CloseClientConnections()
			return
		}
		_, _ = io.WriteString(w, "abcdef")
	}))
	t.Cleanup(s.Close)
	body, err := clientFor(t, s.URL).Get(t.Context(), "b", "k", 6)
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(body))
}

func TestGetStopsAtTheLimit(t *testing.T) {
	endless := server(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	body, err := clientFor(t, endless).Get(t.Context(), "b", "k", 1000)
	require.Nil(t, body)
	requireProblem(t, err, recovery.ErrDamaged, "larger than 1000 bytes", "s3://b/k")
}
