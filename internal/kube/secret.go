package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// setByHand names the variables that stand in for a Secret that can't be read.
const setByHand = "set the values yourself: KOPIA_PASSWORD (or --password-file) for Kopia, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3"

// Secret gives the decoded data of one Secret. Errors never contain a value.
func (c *Client) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	what := fmt.Sprintf("read Secret %s/%s", namespace, name)
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	object, err := c.dynamic.Resource(gvr).Namespace(namespace).Get(requestCtx, name, metav1.GetOptions{})
	switch {
	case err == nil:
		return secretData(what, object)
	case apierrors.IsNotFound(err):
		return nil, &recovery.Problem{What: what, Why: "there is no such Secret", Next: setByHand, Err: errors.Join(recovery.ErrNotFound, err)}
	case apierrors.IsForbidden(err):
		return nil, &recovery.Problem{What: what, Why: "the API server forbids it to this user", Next: setByHand, Err: errors.Join(recovery.ErrDenied, err)}
	default:
		return nil, c.explain(ctx, what, gvr, err)
	}
}

// secretData decodes by hand: a decoder's error would quote the value.
func secretData(what string, object *unstructured.Unstructured) (map[string][]byte, error) {
	encoded, _, err := unstructured.NestedMap(object.Object, "data")
	if err != nil {
		return nil, &recovery.Problem{What: what, Why: "its data is not a map", Next: setByHand, Err: recovery.ErrDamaged}
	}
	values := make(map[string][]byte, len(encoded))
	for key, value := range encoded {
		text, isText := value.(string)
		decoded, err := base64.StdEncoding.DecodeString(text)
		if !isText || err != nil {
			return nil, &recovery.Problem{What: what, Why: fmt.Sprintf("the value of key %s is not base64", key), Next: setByHand, Err: recovery.ErrDamaged}
		}
		values[key] = decoded
	}
	return values, nil
}
