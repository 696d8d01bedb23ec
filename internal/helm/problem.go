package helm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/drctl/drctl/internal/recovery"
)

// explain turns an error of Helm, or of the API server behind it, into one that a person can act on. A cancellation by the
// caller stays what it is.
func explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	problem := &recovery.Problem{What: what, Why: applied.ReplaceAllString(err.Error(), "a value"), Next: "run the command again; what was begun is gone on with"}
	switch {
	case apierrors.IsUnauthorized(err):
		problem.Why, problem.Err = "the API server refused the credentials: expired or invalid", recovery.ErrDenied
		problem.Next = "log in to the cluster again, or give another --context or --kubeconfig"
	case apierrors.IsForbidden(err):
		problem.Next, problem.Err = "take a user that may do everything: Argo CD's own roles can't be given by less", recovery.ErrDenied
	case apierrors.IsConflict(err), errors.Is(err, driver.ErrReleaseExists):
		problem.Next, problem.Err = "look who else works on the release, then run the command again", recovery.ErrConflict
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), meta.IsNoMatchError(err):
		problem.Next, problem.Err = "correct the values, or take a chart that suits this cluster", recovery.ErrInvalid
	case passing(err):
		problem.Err = recovery.ErrUnreachable
	}
	problem.Err = errors.Join(problem.Err, err)
	return problem
}

// passing holds for failures that say nothing about what was asked for: an answer that did not come, a server that has
// too much to do, somebody who wrote at the same time. What discovery and the schemas answer is wrapped as text only.
func passing(err error) bool {
	var request *url.Error
	if errors.As(err, &request) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err) || apierrors.IsConflict(err) {
		return true
	}
	text := err.Error()
	return slices.ContainsFunc([]string{"kubernetes cluster unreachable", "unexpected EOF", "connection reset by peer", "failed to download openapi", "the object has been modified"},
		func(words string) bool { return strings.Contains(text, words) })
}

// applied is how the API server quotes a field of the wrong type, which may be a Secret's.
// Source: apimachinery pkg/util/managedfields, structured-merge-diff typed/validate.go.
var applied = regexp.MustCompile(`&value\.valueUnstructured\{[^}]*\}`)

// foreignObject finds the object in Helm's words. Source: helm pkg/action/validate.go, existingResourceConflict.
var foreignObject = regexp.MustCompile(`(\S+) "([^"]*)" in namespace "([^"]*)" exists and cannot be imported`)

// refused is the explanation of a chart that may not have an object which is there already, nil for other errors.
func refused(what string, target Target, err error) error {
	found := foreignObject.FindStringSubmatch(err.Error())
	if found == nil {
		return nil
	}
	object := found[1] + " " + found[2]
	if found[3] != "" {
		object = found[1] + " " + found[3] + "/" + found[2]
	}
	return &recovery.Problem{
		What: what,
		Why:  fmt.Sprintf("%s is there already and does not belong to release %s/%s: something else made it", object, target.Namespace, target.Name),
		Next: "adopt what is there: --take-ownership; or remove the former installation first", Err: errors.Join(recovery.ErrExists, err),
	}
}
