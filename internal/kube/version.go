package kube

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/drctl/drctl/internal/recovery"
)

// Version is the API server's, without a leading "v": "1.37.2", with whatever a distribution appends.
func (c *Client) Version(ctx context.Context) (string, error) {
	const what = "ask for the API server's version"
	content, err := c.getRaw(ctx, "/version", nil)
	if err != nil {
		return "", c.explain(ctx, what, schema.GroupVersionResource{}, err)
	}
	var info version.Info
	if err := json.Unmarshal(content, &info); err != nil || info.GitVersion == "" {
		return "", &recovery.Problem{
			What: what, Why: "the answer is no version", Next: "check --context", Err: errors.Join(recovery.ErrDamaged, err),
		}
	}
	return strings.TrimPrefix(info.GitVersion, "v"), nil
}
