package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/drctl/drctl/internal/recovery"
)

// explainObject is explain for requests that name one object: beside what every request can meet, the
// object may be absent, there already, changed meanwhile, or refused for what stands in it.
func (c *Client) explainObject(ctx context.Context, what string, gvr schema.GroupVersionResource, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	problem := &recovery.Problem{What: what}
	switch {
	case isObjectAbsent(err):
		problem.Why = err.Error()
		problem.Next = "check the name and the namespace"
		problem.Err = errors.Join(recovery.ErrNotFound, err)
	case apierrors.IsAlreadyExists(err):
		problem.Why = "there is one of that name already"
		problem.Next = "look who made it: kubectl get -o yaml --show-managed-fields"
		problem.Err = errors.Join(recovery.ErrExists, err)
	case apierrors.IsConflict(err), isOtherObject(err):
		problem.Why = "the live object is not what the request was made for: " + err.Error()
		problem.Next = "look at the live object before trying again"
		problem.Err = errors.Join(recovery.ErrConflict, err)
	case isRefusedContent(err):
		problem.Why = err.Error()
		problem.Next = "correct what the API server names, or the policy that refuses it"
		problem.Err = errors.Join(recovery.ErrInvalid, err)
	case apierrors.IsForbidden(err):
		problem.Why = "the API server forbids it to this user: " + err.Error()
		problem.Next = "have the ClusterRole of docs/rbac-recover.yaml bound to you"
		problem.Err = errors.Join(recovery.ErrDenied, err)
	default:
		return c.explain(ctx, what, gvr, err)
	}
	return problem
}

// isObjectAbsent: the server knows the kind, and answers for an object (or for its namespace). A kind
// that it does not know is answered by no Status at all, which client-go marks by a cause.
func isObjectAbsent(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Name != "" && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// isOtherObject: the UID that was sent is not the live object's. The server takes that for an attempt to
// change it, and not for a conflict.
func isOtherObject(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(cause metav1.StatusCause) bool { return cause.Field == "metadata.uid" })
}

// isRefusedContent tells a refusal of the content (schema, webhooks, admission policies, quota) from a
// missing right. Both can be 403; the text of a missing right is always the same.
// Source: apiserver pkg/endpoints/handlers/responsewriters/errors.go, forbiddenMessage.
func isRefusedContent(err error) bool {
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return true
	case apierrors.IsForbidden(err):
		return !strings.Contains(err.Error(), `User "`) || !strings.Contains(err.Error(), `" cannot `)
	default:
		return false
	}
}

// isPatchMisfit: the server could not carry out the JSON patch on the live object. It says so by a bare
// 422, where a validation that fails afterwards names the object.
// Source: apiserver pkg/endpoints/handlers/patch.go, applyJSPatch.
func isPatchMisfit(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusUnprocessableEntity {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == ""
}

func (c *Client) misfit(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	return &recovery.Problem{
		What: what,
		Why:  "the live object is not what the patch was computed from: a test in it failed, or a path is not there",
		Next: "look at the live object, and compute the patch again",
		Err:  errors.Join(recovery.ErrConflict, err),
	}
}
