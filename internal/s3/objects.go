package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/drctl/drctl/internal/recovery"
)

// mostPages bounds a serial listing: a store that hands out the same page for ever must not hang us.
const mostPages = 1 << 20

// List reads one page, with one request. An empty page is no error: S3 knows no folders, so a prefix
// without objects cannot be told from one that never was.
func (c *Client) List(ctx context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error) {
	in := &awss3.ListObjectsV2Input{Bucket: &q.Bucket, Prefix: optional(q.Prefix), Delimiter: optional(q.Delimiter)}
	if q.Token != "" {
		in.ContinuationToken = &q.Token
	} else {
		in.StartAfter = optional(q.StartAfter)
	}
	if q.MaxKeys > 0 {
		in.MaxKeys = aws.Int32(int32(min(q.MaxKeys, 1000)))
	}
	out, err := c.api.ListObjectsV2(ctx, in)
	if err != nil {
		return recovery.ObjectPage{}, c.problem(ctx, fmt.Sprintf("list s3://%s/%s", q.Bucket, q.Prefix), err)
	}
	page := recovery.ObjectPage{Objects: make([]recovery.Object, 0, len(out.Contents))}
	for _, object := range out.Contents {
		page.Objects = append(page.Objects, recovery.Object{
			Key: aws.ToString(object.Key), SizeBytes: aws.ToInt64(object.Size), ModifiedAt: aws.ToTime(object.LastModified).UTC(),
		})
	}
	for _, folder := range out.CommonPrefixes {
		page.Folders = append(page.Folders, aws.ToString(folder.Prefix))
	}
	if aws.ToBool(out.IsTruncated) {
		page.NextToken = aws.ToString(out.NextContinuationToken)
		if page.NextToken == "" {
			return page, &recovery.Problem{
				What: fmt.Sprintf("list s3://%s/%s", q.Bucket, q.Prefix), Why: "the server says that more follows and does not say how to get it",
				Next: "the endpoint does not speak ListObjectsV2 completely: see the server's version", Err: recovery.ErrUnsupported,
			}
		}
	}
	return page, nil
}

// ListAll reads all pages, one after the other. On an error it gives what was read until then too.
func (c *Client) ListAll(ctx context.Context, q recovery.ObjectQuery) (recovery.ObjectPage, error) {
	var all recovery.ObjectPage
	for range mostPages {
		page, err := c.List(ctx, q)
		all.Objects = append(all.Objects, page.Objects...)
		all.Folders = append(all.Folders, page.Folders...)
		if err != nil {
			return all, err
		}
		if page.NextToken == "" {
			return all, nil
		}
		q.Token = page.NextToken
	}
	return all, &recovery.Problem{What: fmt.Sprintf("list s3://%s/%s", q.Bucket, q.Prefix), Why: "the listing does not end", Err: recovery.ErrUnsupported}
}

// Get reads a whole object of at most limitBytes. A larger one is ErrDamaged and is not read on.
func (c *Client) Get(ctx context.Context, bucket, key string, limitBytes int64) ([]byte, error) {
	body, err := c.read(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key}, limitBytes)
	if err == nil && int64(len(body)) > limitBytes {
		err = &recovery.Problem{
			What: fmt.Sprintf("read s3://%s/%s", bucket, key), Why: fmt.Sprintf("it is larger than %d bytes, which such an object never is", limitBytes),
			Next: "look at it: something else was written there", Err: recovery.ErrDamaged,
		}
		return nil, err
	}
	return body, err
}

// GetRange reads length bytes from offset on, fewer at the object's end. Both are in bytes.
func (c *Client) GetRange(ctx context.Context, bucket, key string, offset, length int64) ([]byte, error) {
	if offset < 0 || length <= 0 {
		return nil, fmt.Errorf("read s3://%s/%s: range of %d bytes from %d: %w", bucket, key, length, offset, recovery.ErrUsage)
	}
	wanted := fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	body, err := c.read(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key, Range: &wanted}, length)
	if int64(len(body)) > length {
		body = body[:length]
	}
	return body, err
}

// read gets an object and up to limit+1 of its bytes. An answer that breaks off is asked for again:
// the SDK repeats requests, not the reading of a body.
func (c *Client) read(ctx context.Context, in *awss3.GetObjectInput, limit int64) ([]byte, error) {
	what := fmt.Sprintf("read s3://%s/%s", aws.ToString(in.Bucket), aws.ToString(in.Key))
	var broken error
	for attempt := range mostAttempts {
		if attempt > 0 {
			if err := sleep(ctx, c.pause); err != nil {
				return nil, c.problem(ctx, what, err)
			}
		}
		out, err := c.api.GetObject(ctx, in)
		if err != nil {
			return nil, c.problem(ctx, what, err)
		}
		body, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
		// The rest of a too large body is not wanted: closing drops the connection.
		_ = out.Body.Close()
		if err == nil {
			return body, nil
		}
		broken = err
	}
	return nil, c.problem(ctx, what, errors.Join(io.ErrUnexpectedEOF, broken))
}

// Head gives an object's size and age without reading it.
func (c *Client) Head(ctx context.Context, bucket, key string) (recovery.Object, error) {
	out, err := c.api.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return recovery.Object{}, c.problem(ctx, fmt.Sprintf("look at s3://%s/%s", bucket, key), err)
	}
	return recovery.Object{Key: key, SizeBytes: aws.ToInt64(out.ContentLength), ModifiedAt: aws.ToTime(out.LastModified).UTC()}, nil
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
