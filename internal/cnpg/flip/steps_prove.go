package flip

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/operation"
)

// recoveredStep waits for PostgreSQL to be promoted, and explains what goes wrong meanwhile.
type recoveredStep struct {
	operation.Waits
	*Flip
}

func (s recoveredStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	live, err := s.Cluster.Find(ctx, p.Namespace, p.cluster())
	if err != nil {
		return operation.Observation{}, err
	}
	if live == nil {
		return operation.IsConflict("Cluster %s is gone again: somebody deleted it while it recovered; %s", p, p.again(run.Plan.ID))
	}
	if live.Ready && live.Primary != "" {
		return operation.IsDone()
	}
	log, err := s.Cluster.RecoveryLog(ctx, p.Namespace, p.cluster())
	if err != nil {
		return operation.IsPending("%s (the recovery log could not be read: %v)", live.Phase, err)
	}
	if cause, fix, known := s.Render.Explain(log); known {
		return operation.IsStopped(run, fix, "%s (if it must be recovered anew for that, %s)", cause, p.again(run.Plan.ID))
	}
	text := live.Phase
	if line := firstOf(s.Render.Progress(log), live.PhaseReason); line != "" {
		text += ": " + line
	}
	return operation.IsPending("%s", text)
}

// proveStep ends once the data is proven. Disproved stops; unknown waits, and ends as unproven.
type proveStep struct {
	operation.Waits
	*Flip
}

func (s proveStep) Observe(ctx context.Context, run *operation.Run) (operation.Observation, error) {
	p, err := ParamsOf(run.Plan)
	if err != nil {
		return operation.Observation{}, err
	}
	uid, _ := run.Fact(FactUID)
	checks, err := s.proveData(ctx, expectation{params: p, uid: uid})
	if err != nil {
		return operation.Observation{}, err
	}
	o, err := concluded(run, checks, "look at it (drctl cnpg verify "+p.cluster()+"), and if it can be put right by hand, do so",
		"; this is not what was to be recovered; "+p.again(run.Plan.ID))
	if err != nil || o.State != operation.Done {
		return o, err
	}
	for _, check := range checks {
		if check.Name == factRows {
			err = run.SetFact(ctx, factRows, check.Observed)
		}
	}
	return o, errors.Join(err, run.SetFact(ctx, factProvenAt, s.Now().UTC().Format(time.RFC3339)))
}

// again says how to recover once more, which this plan cannot.
func (p *Params) again(planID string) string {
	if p.beside() {
		return "drctl abort " + planID + " deletes the copy, which can then be made anew"
	}
	return "to recover again: drctl abort " + planID + " --give-up, then drctl cnpg recover " + p.Name + " --source-server-name " + p.SourceServer +
		", with another --backup-id or --verify-sql"
}

// concluded turns checks into a state. Next and advice are for what is disproved.
func concluded(run *operation.Run, checks []Check, next, advice string) (operation.Observation, error) {
	report := newReport("", "", "")
	report.add(checks...)
	var texts []string
	for _, check := range report.failed() {
		texts = append(texts, check.Name+" is "+string(check.Result)+": "+check.Observed+", expected "+check.Expected)
	}
	switch report.Result {
	case Proven:
		return operation.IsDone()
	case Disproved:
		return operation.IsStopped(run, next, "%s%s", strings.Join(texts, "; "), advice)
	}
	return operation.IsPending("%s", strings.Join(texts, "; "))
}
