package kopia

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/s3"

	"github.com/drctl/drctl/internal/recovery"
)

// awsEndpoint is where a bucket is looked for when no endpoint is given.
const awsEndpoint = "s3.amazonaws.com"

// openS3 gives the bucket's storage, Kopia's own.
func openS3(ctx context.Context, l Location, o S3Options) (blob.Storage, error) {
	what := "open the Kopia repository " + l.String()
	if o.AccessKeyID == "" || o.SecretAccessKey == "" {
		return nil, &recovery.Problem{What: what, Why: "no S3 keys are given", Next: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", Err: recovery.ErrUsage}
	}
	host, plain, err := parseEndpoint(o.EndpointURL)
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: err.Error(), Next: "give --endpoint-url https://HOST[:PORT]", Err: recovery.ErrUsage}
	}
	if len(o.CABundle) > 0 && !x509.NewCertPool().AppendCertsFromPEM(o.CABundle) {
		return nil, &recovery.Problem{What: what, Why: "the CA bundle holds no certificate", Next: "give a PEM file", Err: recovery.ErrUsage}
	}
	prefix := l.Prefix
	if prefix != "" {
		prefix += "/"
	}
	return s3.New(ctx, &s3.Options{
		BucketName: l.Bucket, Prefix: prefix, Endpoint: host, DoNotUseTLS: plain, RootCA: o.CABundle, Region: o.Region,
		AccessKeyID: o.AccessKeyID, SecretAccessKey: o.SecretAccessKey, SessionToken: o.SessionToken,
	}, false)
}

// parseEndpoint gives the host and port of an endpoint, and whether it is spoken to without TLS.
func parseEndpoint(text string) (host string, plain bool, err error) {
	if text == "" {
		return awsEndpoint, false, nil
	}
	address, err := url.Parse(text)
	if err != nil || address.Host == "" || address.User != nil {
		return "", false, errors.New("the S3 endpoint is no http:// or https:// address")
	}
	switch address.Scheme {
	case "http":
		plain = true
	case "https":
	default:
		return "", false, fmt.Errorf("the S3 endpoint begins with %s://, not with http:// or https://", address.Scheme)
	}
	if address.Path != "" && address.Path != "/" {
		return "", false, errors.New("the S3 endpoint has a path, and Kopia's S3 storage takes none")
	}
	return address.Host, plain, nil
}
