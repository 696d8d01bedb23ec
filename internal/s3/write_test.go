package s3

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

func put(ctx context.Context, c *Client) error {
	return c.Put(ctx, "bucket", "cnpg/keep", []byte("full"))
}

func remove(ctx context.Context, c *Client) error { return c.Delete(ctx, "bucket", "cnpg/keep") }

func TestAnswersToWrites(t *testing.T) {
	for name, c := range map[string]struct {
		do       func(context.Context, *Client) error
		status   int
		code     string
		kind     error
		says     []string
		requests int64
	}{
		"put, no right":       {put, 403, "AccessDenied", recovery.ErrDenied, []string{"write s3://bucket/cnpg/keep", "s3:PutObject"}, 1},
		"delete, no right":    {remove, 403, "AccessDenied", recovery.ErrDenied, []string{"delete s3://bucket/cnpg/keep", "s3:DeleteObject"}, 1},
		"put, wrong secret":   {put, 403, "SignatureDoesNotMatch", recovery.ErrDenied, []string{"AWS_SECRET_ACCESS_KEY"}, 1},
		"put, no bucket":      {put, 404, "NoSuchBucket", recovery.ErrNotFound, []string{"no such bucket"}, 1},
		"put, busy":           {put, 503, "SlowDown", recovery.ErrUnreachable, []string{"too busy"}, mostAttempts},
		"delete, busy":        {remove, 503, "SlowDown", recovery.ErrUnreachable, []string{"too busy"}, mostAttempts},
		"put, many requests":  {put, 429, "TooManyRequests", recovery.ErrUnreachable, []string{"too busy"}, mostAttempts},
		"put, internal error": {put, 500, "InternalError", recovery.ErrUnreachable, []string{"500 InternalError"}, mostAttempts},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientFor(t, server(t, refuse(c.status, c.code)))
			requireProblem(t, c.do(t.Context(), client), c.kind, c.says...)
			require.Equal(t, c.requests, client.Requests())
		})
	}
}

// TestWritesRecover: a write that a busy server refused is sent again, whole.
func TestWritesRecover(t *testing.T) {
	for name, do := range map[string]func(context.Context, *Client) error{"put": put, "delete": remove} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int64
			var body string
			client := clientFor(t, server(t, func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				switch seen.Add(1) {
				case 1:
					refuse(503, "SlowDown")(w, r)
				case 2:
					connection, _, err := http.NewResponseController(w).Hijack()
					if err == nil {
						_ = connection.Close()
					}
				default:
					body = string(text)
				}
			}))
			require.NoError(t, do(t.Context(), client))
			require.Equal(t, int64(3), client.Requests())
			if name == "put" {
				require.Equal(t, "full", body)
			}
		})
	}
}

func TestCancelledWrite(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, put(ctx, clientFor(t, "http://127.0.0.1:1")), context.Canceled)
}

// TestWritesOnMinIO goes through a proxy that refuses some requests, as a real server under load does.
func TestWritesOnMinIO(t *testing.T) {
	ctx := t.Context()
	stack := lab.ForTest(t)
	m, err := stack.MinIO(ctx)
	require.NoError(t, err)
	require.NoError(t, m.MakeBucket(ctx, "bucket"))
	proxy, err := stack.S3Proxy(m)
	require.NoError(t, err)
	client := clientFor(t, proxy.EndpointURL, func(c *Config) { c.AccessKeyID, c.SecretAccessKey = m.AccessKeyID, m.SecretAccessKey })

	require.NoError(t, remove(ctx, client), "one that is not there is no error")
	proxy.Spoil(lab.S3Fault{Last: 2, Status: 503})
	require.NoError(t, put(ctx, client))
	body, err := m.GetObject(ctx, "bucket", "cnpg/keep")
	require.NoError(t, err)
	require.Equal(t, "full", string(body))
	require.NoError(t, client.Put(ctx, "bucket", "cnpg/keep", nil))
	body, err = m.GetObject(ctx, "bucket", "cnpg/keep")
	require.NoError(t, err)
	require.Empty(t, body)

	proxy.Spoil(lab.S3Fault{Status: 503})
	requireProblem(t, put(ctx, client), recovery.ErrUnreachable, "too busy")
	requireProblem(t, remove(ctx, client), recovery.ErrUnreachable, "too busy")
	_, err = client.GetRange(ctx, "bucket", "cnpg/keep", 0, 4)
	requireProblem(t, err, recovery.ErrUnreachable, "too busy")
	proxy.Spoil(lab.S3Fault{Last: 2, Status: 500})
	require.NoError(t, remove(ctx, client))
	_, err = client.Head(ctx, "bucket", "cnpg/keep")
	requireProblem(t, err, recovery.ErrNotFound)
	requireProblem(t, client.Put(ctx, "none", "cnpg/keep", nil), recovery.ErrNotFound, "no such bucket")
	requireProblem(t, put(ctx, clientFor(t, m.EndpointURL)), recovery.ErrDenied, "access key is not known")
}
