package kopia

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kopia/kopia/repo/format"

	"github.com/drctl/drctl/internal/recovery"
)

// checkFormat refuses a repository that this Kopia library must not read: one that requires a feature
// it lacks, or one that is being rewritten to another format.
// Source: kopia repo/open.go, handleMissingRequiredFeatures and UpgradeLockIntent.
func (r *Repository) checkFormat(ctx context.Context) error {
	required, err := r.format.RequiredFeatures(ctx)
	if err != nil {
		return openProblem(r.location, err)
	}
	known := []string{"index-v1", "index-v2"}
	for _, f := range required {
		if !slices.Contains(known, string(f.Feature)) && !f.IfNotUnderstood.Warn {
			return newerProblem(r.location, fmt.Sprintf("it requires the feature %q", string(f.Feature)), nil)
		}
	}
	intent, err := r.format.UpgradeLockIntent(ctx)
	if err != nil {
		return openProblem(r.location, err)
	}
	if locked, _ := intent.IsLocked(time.Now()); locked {
		return &recovery.Problem{
			What: "open the Kopia repository " + r.location.String(),
			Why:  fmt.Sprintf("%s is upgrading it to another format since %s", intent.OwnerID, intent.CreationTime.UTC().Format(time.RFC3339)),
			Next: "wait until that is done, or undo it with: kopia repository upgrade rollback", Err: recovery.ErrUnsupported,
		}
	}
	return nil
}

// formatProblem explains why the repository's settings can't be opened: the password, or a repository
// that is newer than the Kopia library.
func formatProblem(l Location, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return openProblem(l, err)
	}
	if errors.Is(err, format.ErrInvalidPassword) {
		return &recovery.Problem{
			What: "open the Kopia repository " + l.String(), Why: "the password is wrong",
			Next: "set KOPIA_PASSWORD, or give --password-file", Err: errors.Join(recovery.ErrWrongPassword, err),
		}
	}
	return newerProblem(l, err.Error(), err)
}

func newerProblem(l Location, why string, err error) error {
	return &recovery.Problem{
		What: "open the Kopia repository " + l.String(), Why: "it is of a format that drctl does not know: " + why,
		Next: "upgrade drctl", Err: errors.Join(recovery.ErrUnsupported, err),
	}
}
