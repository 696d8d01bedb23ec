package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/drctl/drctl/internal/recovery"
)

// maxPageBytes bounds the answer to a listing: 1,000 keys of 1,024 bytes, escaped, are below it.
const maxPageBytes = 16 << 20

// quickPage puts parsePage before the SDK's decoder of ListObjectsV2. When parsePage understands the
// page, it is in into and the SDK's output is empty; else the SDK decodes the same bytes.
func quickPage(into **recovery.ObjectPage) func(*awss3.Options) {
	return func(o *awss3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			sdk, found := stack.Deserialize.Get("OperationDeserializer")
			if !found {
				return nil
			}
			_, err := stack.Deserialize.Swap("OperationDeserializer", &pageDecoder{sdk: sdk, into: into})
			return err
		})
	}
}

// pageDecoder takes the place of the SDK's decoder in the stack.
type pageDecoder struct {
	sdk  middleware.DeserializeMiddleware
	into **recovery.ObjectPage
}

// ID is the SDK's own: other steps of the stack refer to it.
func (d *pageDecoder) ID() string { return d.sdk.ID() }

// HandleDeserialize runs once for each attempt, inside the retry loop: a body that breaks off is asked
// for again.
func (d *pageDecoder) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	*d.into = nil
	out, metadata, err := next.HandleDeserialize(ctx, in)
	response, isHTTP := out.RawResponse.(*smithyhttp.Response)
	if err == nil && isHTTP && response.StatusCode == http.StatusOK {
		body, readErr := io.ReadAll(io.LimitReader(response.Body, maxPageBytes))
		if readErr != nil {
			return out, metadata, fmt.Errorf("read the listing: %w", readErr)
		}
		if page, ok := parsePage(body); ok {
			*d.into = &page
			out.Result = &awss3.ListObjectsV2Output{}
			return out, metadata, nil
		}
		response.Body = io.NopCloser(bytes.NewReader(body))
	}
	return d.sdk.HandleDeserialize(ctx, in, middleware.DeserializeHandlerFunc(
		func(context.Context, middleware.DeserializeInput) (middleware.DeserializeOutput, middleware.Metadata, error) {
			return out, metadata, err
		}))
}
