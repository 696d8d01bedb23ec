package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/drctl/drctl/internal/recovery"
)

const (
	// defaultRegion is what barman-cloud and the SDKs fall back to; MinIO and Ceph ignore it.
	defaultRegion = "us-east-1"
	// mostAttempts bounds the tries of one request, the first one included.
	mostAttempts = 4
	// longestPause bounds the pause between two tries.
	longestPause = 2 * time.Second
	// connectTimeout is short: in an incident a silent host must be named soon.
	connectTimeout = 5 * time.Second
	// answerTimeout is how long a server may take to begin its answer.
	answerTimeout = 30 * time.Second
	// silenceTimeout is how long it may pause in the middle of an answer.
	silenceTimeout = 60 * time.Second
	// idleConnections are kept for the next wave of requests.
	idleConnections = 256
)

// Config says which store and with which keys.
type Config struct {
	// EndpointURL is empty for AWS itself. With an endpoint, buckets are addressed by path.
	EndpointURL string
	// Region defaults to AWS_REGION, the shared config file, then us-east-1.
	Region string
	// AccessKeyID and SecretAccessKey may both be empty: then the SDK looks in the environment
	// (AWS_*, AWS_PROFILE) and in the shared files.
	AccessKeyID, SecretAccessKey, SessionToken string
	// CABundle are certificates in PEM that are trusted besides the system's.
	CABundle []byte
	// InstanceRole lets the SDK ask the cloud's metadata service for keys. It is off by default:
	// elsewhere that service does not answer, and the question takes seconds.
	InstanceRole bool
}

// Client reads objects, and writes small ones. It is safe for use by several goroutines.
type Client struct {
	api      *awss3.Client
	endpoint string
	requests *atomic.Int64
	// pause is the wait before a broken answer is asked for again.
	pause time.Duration
}

// New makes a client. It sends nothing: wrong keys show at the first request.
func New(ctx context.Context, c Config) (*Client, error) {
	return newClient(ctx, c, longestPause)
}

func newClient(ctx context.Context, c Config, pause time.Duration) (*Client, error) {
	if err := errors.Join(checkEndpoint(c.EndpointURL), checkKeys(c)); err != nil {
		return nil, firstProblem(err)
	}
	transport, err := transport(c.CABundle)
	if err != nil {
		return nil, err
	}
	loaded, err := config.LoadDefaultConfig(ctx, loadOptions(c, transport)...)
	if err != nil {
		return nil, &recovery.Problem{
			What: "read the AWS settings", Why: firstLine(err.Error()),
			Next: "check AWS_PROFILE, AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE and AWS_CA_BUNDLE", Err: errors.Join(recovery.ErrUsage, err),
		}
	}
	client := &Client{requests: &atomic.Int64{}, pause: min(pause, 200*time.Millisecond)}
	client.api = awss3.NewFromConfig(loaded, func(o *awss3.Options) {
		if c.EndpointURL != "" {
			o.BaseEndpoint = &c.EndpointURL
		}
		o.UsePathStyle = o.BaseEndpoint != nil
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retryer(pause)
		o.APIOptions = append(o.APIOptions, client.count)
		client.endpoint = redacted(aws.ToString(o.BaseEndpoint))
	})
	return client, nil
}

func loadOptions(c Config, transport aws.HTTPClient) []func(*config.LoadOptions) error {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(transport), config.WithDefaultRegion(defaultRegion), config.WithLogger(logging.Nop{}),
	}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)))
	}
	if !c.InstanceRole {
		options = append(options, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	return options
}

// transport keeps enough idle connections that a wave of parallel requests finds those of the wave
// before it.
func transport(bundle []byte) (*awshttp.BuildableClient, error) {
	var roots *x509.CertPool
	if len(bundle) > 0 {
		roots = systemRoots()
		if !roots.AppendCertsFromPEM(bundle) {
			return nil, &recovery.Problem{
				What: "read the CA bundle of the S3 endpoint", Why: "it holds no certificate in PEM form",
				Next: "point AWS_CA_BUNDLE (or endpointCA of the manifest) at the CA's certificate", Err: recovery.ErrUsage,
			}
		}
	}
	client := awshttp.NewBuildableClient().WithReadTimeout(silenceTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = idleConnections, idleConnections
			t.ResponseHeaderTimeout = answerTimeout
			if roots != nil {
				t.TLSClientConfig = t.TLSClientConfig.Clone()
				if t.TLSClientConfig == nil {
					t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
				}
				t.TLSClientConfig.RootCAs = roots
			}
		})
	return client, nil
}

func systemRoots() *x509.CertPool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return roots
}

// retryer asks again after 5xx answers, 429, SlowDown and broken connections, a bounded number of times.
// The SDK's own token bucket is off: with hundreds of requests in flight it would give up on the last
// ones without a second try.
func retryer(pause time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = mostAttempts
		o.MaxBackoff = pause
		o.Backoff = retry.NewExponentialJitterBackoff(pause)
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{
			retry.IsErrorRetryableFunc(brokenAnswer),
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}},
		}, o.Retryables...)
	})
}

// Requests is the number of HTTP requests sent so far, repeated ones included.
func (c *Client) Requests() int64 { return c.requests.Load() }

// count adds a step behind the retry loop, so that every attempt counts.
func (c *Client) count(stack *middleware.Stack) error {
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("CountRequests",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			c.requests.Add(1)
			return next.HandleFinalize(ctx, in)
		}), "Retry", middleware.After)
}
