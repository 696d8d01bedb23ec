package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/drctl/drctl/internal/recovery"
)

// Put writes an object, over what may be there. It is for small ones: the body is sent in one request.
// A request that broke off may have been carried out; it is sent again, which changes nothing.
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) error {
	_, err := c.api.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		return mayNot("s3:PutObject", c.problem(ctx, fmt.Sprintf("write s3://%s/%s", bucket, key), err))
	}
	return nil
}

// Delete removes an object. One that is not there is no error, as in S3 itself.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	_, err := c.api.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return mayNot("s3:DeleteObject", c.problem(ctx, fmt.Sprintf("delete s3://%s/%s", bucket, key), err))
	}
	return nil
}

// mayNot names the right that a refused write needs: the advice for reads would mislead.
func mayNot(right string, err error) error {
	var p *recovery.Problem
	if !errors.As(err, &p) || p.Why != whyDenied {
		return err
	}
	named := *p
	named.Next = "give the keys " + right + " on the bucket's objects, or use others: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
	return &named
}
