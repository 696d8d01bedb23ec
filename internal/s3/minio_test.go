package s3

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/lab"
	"github.com/drctl/drctl/internal/recovery"
)

// TestMinIO proves on a real server what the stand-ins only claim: codes of refusals, paging,
// StartAfter, ranges.
func TestMinIO(t *testing.T) {
	ctx := t.Context()
	m, err := lab.ForTest(t).MinIO(ctx)
	require.NoError(t, err)
	require.NoError(t, m.MakeBucket(ctx, "bucket"))
	for i := range 25 {
		require.NoError(t, m.PutObject(ctx, "bucket", fmt.Sprintf("cnpg/%02d/x", i), []byte("0123456789")))
	}
	client := clientFor(t, m.EndpointURL, func(c *Config) { c.AccessKeyID, c.SecretAccessKey = m.AccessKeyID, m.SecretAccessKey })

	t.Run("pages", func(t *testing.T) {
		before := client.Requests()
		page, err := client.ListAll(ctx, recovery.ObjectQuery{Bucket: "bucket", Prefix: "cnpg/", MaxKeys: 10})
		require.NoError(t, err)
		require.Len(t, page.Objects, 25)
		require.Equal(t, int64(3), client.Requests()-before)
	})
	t.Run("folders over pages", func(t *testing.T) {
		page, err := client.ListAll(ctx, recovery.ObjectQuery{Bucket: "bucket", Prefix: "cnpg/", Delimiter: "/", MaxKeys: 10})
		require.NoError(t, err)
		require.Empty(t, page.Objects)
		require.Len(t, page.Folders, 25)
	})
	t.Run("start after", func(t *testing.T) {
		page, err := client.List(ctx, recovery.ObjectQuery{Bucket: "bucket", Prefix: "cnpg/", StartAfter: "cnpg/22/x"})
		require.NoError(t, err)
		require.Len(t, page.Objects, 2)
		require.Equal(t, "cnpg/23/x", page.Objects[0].Key)
		require.Empty(t, page.NextToken)
	})
	t.Run("objects", func(t *testing.T) {
		body, err := client.Get(ctx, "bucket", "cnpg/00/x", 10)
		require.NoError(t, err)
		require.Equal(t, "0123456789", string(body))
		_, err = client.Get(ctx, "bucket", "cnpg/00/x", 9)
		requireProblem(t, err, recovery.ErrDamaged)
		body, err = client.GetRange(ctx, "bucket", "cnpg/00/x", 4, 3)
		require.NoError(t, err)
		require.Equal(t, "456", string(body))
		object, err := client.Head(ctx, "bucket", "cnpg/00/x")
		require.NoError(t, err)
		require.Equal(t, int64(10), object.SizeBytes)
		require.False(t, object.ModifiedAt.IsZero())
		_, err = client.Head(ctx, "bucket", "cnpg/none")
		requireProblem(t, err, recovery.ErrNotFound)
		_, err = client.Get(ctx, "bucket", "cnpg/none", 9)
		requireProblem(t, err, recovery.ErrNotFound)
	})
	t.Run("no such prefix is an empty page", func(t *testing.T) {
		page, err := client.List(ctx, recovery.ObjectQuery{Bucket: "bucket", Prefix: "other/"})
		require.NoError(t, err)
		require.Empty(t, page.Objects)
	})
	t.Run("no such bucket", func(t *testing.T) {
		_, err := client.List(ctx, recovery.ObjectQuery{Bucket: "none"})
		requireProblem(t, err, recovery.ErrNotFound, "no such bucket")
	})
	t.Run("wrong keys", func(t *testing.T) {
		requireProblem(t, listing(t, clientFor(t, m.EndpointURL)), recovery.ErrDenied, "access key is not known")
		wrong := clientFor(t, m.EndpointURL, func(c *Config) { c.AccessKeyID = m.AccessKeyID })
		requireProblem(t, listing(t, wrong), recovery.ErrDenied, "secret key does not belong")
		_, err := wrong.Head(ctx, "bucket", "cnpg/00/x")
		requireProblem(t, err, recovery.ErrDenied, "403")
	})
	t.Run("server dies", func(t *testing.T) {
		require.NoError(t, m.Process.Kill())
		requireProblem(t, listing(t, client), recovery.ErrUnreachable, "connection refused")
	})
}
