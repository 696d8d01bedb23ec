package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/drctl/drctl/internal/recovery"
)

// diagnosis is a failure in words, and its kind.
type diagnosis struct {
	why, next string
	kind      error
}

const (
	whyDenied    = "the keys may not do that (access denied)"
	nextKeys     = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the Secret that the manifest names"
	nextEndpoint = "check --endpoint-url, and that the server runs and can be reached from here"
	nextCA       = "set AWS_CA_BUNDLE=FILE to the certificate of the endpoint's CA, or name it as endpointCA in the manifest"
)

// problem turns a failure of the SDK into one that a person can act on. The cause stays in the chain.
func (c *Client) problem(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, context.Canceled)
	}
	found := c.diagnose(err)
	return &recovery.Problem{What: what, Why: found.why, Next: found.next, Err: errors.Join(found.kind, err)}
}

func (c *Client) diagnose(err error) diagnosis {
	for _, look := range []func(error) (diagnosis, bool){c.tlsFailure, credentialsFailure, answered, c.noConnection, brokenOff} {
		if found, ok := look(err); ok {
			return found
		}
	}
	return diagnosis{why: firstLine(err.Error()), next: nextEndpoint, kind: recovery.ErrUnreachable}
}

// tlsFailure knows certificates that are not trusted and the mix-ups of http and https.
func (c *Client) tlsFailure(err error) (diagnosis, bool) {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	text := err.Error()
	switch {
	case errors.As(err, &unknown):
		return diagnosis{"TLS: the certificate of " + c.where() + " is signed by an authority that is not trusted here", nextCA, recovery.ErrUnreachable}, true
	case errors.As(err, &hostname):
		return diagnosis{"TLS: the certificate of " + c.where() + " is for another host name", "give --endpoint-url with the name in the certificate", recovery.ErrUnreachable}, true
	case errors.As(err, &invalid):
		return diagnosis{"TLS: the certificate of " + c.where() + " is not valid: " + firstLine(invalid.Error()), "check its dates, and this machine's clock", recovery.ErrUnreachable}, true
	case errors.As(err, &record), strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return diagnosis{"TLS: " + c.where() + " speaks plain http", "give --endpoint-url http://…", recovery.ErrUnreachable}, true
	case strings.Contains(text, "tls: "):
		return diagnosis{"TLS: " + text[strings.Index(text, "tls: ")+len("tls: "):], nextEndpoint, recovery.ErrUnreachable}, true
	}
	return diagnosis{}, false
}

// credentialsFailure is the SDK finding no keys at all. It has no type of its own for that.
func credentialsFailure(err error) (diagnosis, bool) {
	var api smithy.APIError
	if errors.As(err, &api) {
		return diagnosis{}, false
	}
	for _, sign := range []string{"get identity:", "failed to refresh cached credentials", "failed to retrieve credentials"} {
		if strings.Contains(err.Error(), sign) {
			return diagnosis{"there are no S3 keys", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", recovery.ErrDenied}, true
		}
	}
	return diagnosis{}, false
}

// answered is a failure that the server itself put into words.
func answered(err error) (diagnosis, bool) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return diagnosis{}, false
	}
	status := 0
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	if found, known := byCode(api.ErrorCode()); known {
		return found, true
	}
	said := fmt.Sprintf("the server answered %d %s", status, api.ErrorCode())
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return diagnosis{said, nextKeys, recovery.ErrDenied}, true
	case status == http.StatusNotFound:
		return diagnosis{"there is no such object", "check the path", recovery.ErrNotFound}, true
	case status >= 500:
		return diagnosis{fmt.Sprintf("%s, %d times in a row", said, mostAttempts), "wait and try again; look at the server's health", recovery.ErrUnreachable}, true
	case status >= 300 && status < 400:
		return diagnosis{said, "the bucket lives elsewhere: set AWS_REGION, or --endpoint-url", recovery.ErrUnreachable}, true
	}
	return diagnosis{said, "check --endpoint-url: is that an S3 server?", recovery.ErrUnreachable}, true
}

// byCode knows S3's error codes.
// Source: Amazon S3 API reference, "Error responses"; MinIO cmd/api-errors.go.
func byCode(code string) (diagnosis, bool) {
	switch code {
	case "InvalidAccessKeyId":
		return diagnosis{"the access key is not known to the server", nextKeys, recovery.ErrDenied}, true
	case "SignatureDoesNotMatch":
		return diagnosis{"the secret key does not belong to the access key", nextKeys, recovery.ErrDenied}, true
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return diagnosis{whyDenied, "give them s3:ListBucket on the bucket and s3:GetObject on its objects, or use others: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", recovery.ErrDenied}, true
	case "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired":
		return diagnosis{"the session token is not valid or has expired", "get new keys, and set AWS_SESSION_TOKEN with them", recovery.ErrDenied}, true
	case "RequestTimeTooSkewed":
		return diagnosis{"this machine's clock and the server's differ too much", "correct the clock", recovery.ErrDenied}, true
	case "NoSuchBucket":
		return diagnosis{"there is no such bucket", "check --destination-path and --endpoint-url", recovery.ErrNotFound}, true
	case "InvalidBucketName":
		return diagnosis{"that is no name for a bucket", "check --destination-path", recovery.ErrUsage}, true
	case "NoSuchKey", "NotFound":
		return diagnosis{"there is no such object", "check the path", recovery.ErrNotFound}, true
	case "SlowDown", "SlowDownRead", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded":
		return diagnosis{fmt.Sprintf("the server is too busy: it answered %s %d times in a row", code, mostAttempts), "wait and try again; look at the server's health", recovery.ErrUnreachable}, true
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return diagnosis{"the bucket is in another region (" + code + ")", "set AWS_REGION", recovery.ErrNotFound}, true
	}
	return diagnosis{}, false
}

// noConnection is a server that cannot be spoken to at all.
func (c *Client) noConnection(err error) (diagnosis, bool) {
	var dns *net.DNSError
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return diagnosis{"nothing listens at " + c.where() + " (connection refused)", nextEndpoint, recovery.ErrUnreachable}, true
	case errors.As(err, &dns):
		return diagnosis{"the host name " + dns.Name + " is not known", nextEndpoint, recovery.ErrUnreachable}, true
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return diagnosis{"there is no route to " + c.where(), nextEndpoint, recovery.ErrUnreachable}, true
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return diagnosis{c.where() + " did not answer in time", nextEndpoint, recovery.ErrUnreachable}, true
	}
	return diagnosis{}, false
}

// brokenOff is an answer that ended too soon, or that is not S3's.
func brokenOff(err error) (diagnosis, bool) {
	var strange *smithy.DeserializationError
	if brokenAnswer(err) == aws.TrueTernary {
		return diagnosis{"the server went away in the middle of its answer", "try again; look at the server's health", recovery.ErrUnreachable}, true
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= 500 {
		return diagnosis{fmt.Sprintf("the server answered %d, %d times in a row", response.HTTPStatusCode(), mostAttempts), "wait and try again; look at the server's health", recovery.ErrUnreachable}, true
	}
	if errors.As(err, &strange) {
		return diagnosis{"the answer is not S3's", "check --endpoint-url: it may name a web console or a proxy, or https instead of http may be wanted", recovery.ErrUnsupported}, true
	}
	return diagnosis{}, false
}

// brokenAnswer tells the retry loop of answers that broke off: reading is safe to repeat. A certificate
// gets no better by asking again.
func brokenAnswer(err error) aws.Ternary {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return aws.FalseTernary
	}
	// A refusal whose text is not XML ends in EOF too, and is no broken answer.
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= 300 {
		return aws.UnknownTernary
	}
	for _, sign := range []error{io.ErrUnexpectedEOF, io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, sign) {
			return aws.TrueTernary
		}
	}
	// encoding/xml does not wrap the end of its input.
	if strings.Contains(err.Error(), "XML syntax error") && strings.Contains(err.Error(), "unexpected EOF") {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// where is the endpoint in words.
func (c *Client) where() string {
	if c.endpoint == "" {
		return "AWS"
	}
	return c.endpoint
}

func firstProblem(err error) error {
	var p *recovery.Problem
	if errors.As(err, &p) {
		return p
	}
	return err
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
