package s3

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/drctl/drctl/internal/recovery"
)

// ParseURL splits s3://BUCKET/PREFIX. The prefix has no slash at either end and may be empty.
// The error is a Problem of kind ErrUsage.
func ParseURL(text string) (bucket, prefix string, err error) {
	rest, isS3 := strings.CutPrefix(text, "s3://")
	if !isS3 {
		return "", "", malformed(text, "it does not begin with s3://")
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	switch {
	case bucket == "":
		return "", "", malformed(text, "it names no bucket")
	case strings.ContainsAny(bucket, "@:?# \t\n"):
		return "", "", malformed(text, "its bucket holds a character that no bucket name has")
	}
	prefix = strings.Trim(prefix, "/")
	if strings.Contains(prefix, "//") {
		return "", "", malformed(text, "its path holds an empty element (//)")
	}
	return bucket, prefix, nil
}

func malformed(text, why string) error {
	// Whoever put a user name and a password in front of the bucket must not find them in a log.
	if _, after, found := strings.Cut(text, "@"); found {
		text = "…@" + after
	}
	return &recovery.Problem{
		What: fmt.Sprintf("%q is no S3 path", text), Why: why,
		Next: "write s3://BUCKET/PATH, and the server's address in --endpoint-url", Err: recovery.ErrUsage,
	}
}

// checkEndpoint refuses an endpoint that the SDK would take and fail on later, far from the cause.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	problem := func(why string) error {
		return &recovery.Problem{
			What: "the S3 endpoint cannot be used", Why: why,
			Next: "give --endpoint-url https://HOST[:PORT], or nothing for AWS itself", Err: recovery.ErrUsage,
		}
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		// The parser's error repeats the whole text, and there may be a password in it.
		return problem("it is not a URL")
	case u.User != nil:
		return problem("it holds a user name or password; keys belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Scheme != "http" && u.Scheme != "https":
		return problem(fmt.Sprintf("%q does not begin with http:// or https://", endpoint))
	case u.Host == "":
		return problem(fmt.Sprintf("%q names no host", endpoint))
	}
	return nil
}

// checkKeys refuses half a pair of keys: the SDK would silently take another identity.
func checkKeys(c Config) error {
	if (c.AccessKeyID == "") == (c.SecretAccessKey == "") {
		return nil
	}
	missing := "AWS_SECRET_ACCESS_KEY"
	if c.AccessKeyID == "" {
		missing = "AWS_ACCESS_KEY_ID"
	}
	return &recovery.Problem{
		What: "the S3 keys are incomplete", Why: missing + " is missing",
		Next: "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", Err: errors.Join(recovery.ErrUsage, recovery.ErrDenied),
	}
}

// redacted is the endpoint as it may be shown: AWS_ENDPOINT_URL reaches the SDK past checkEndpoint.
func redacted(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		return ""
	}
	return u.Redacted()
}
