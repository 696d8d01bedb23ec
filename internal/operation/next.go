package operation

// PlanElsewhere is a plan of which only the cluster has a copy: it was begun on another computer.
const PlanElsewhere = "elsewhere"

// ElsewhereView is the view of a plan that only the cluster knows. Its journal is not looked at: that it
// is unfinished is known from the copy being there.
func ElsewhereView(plan Plan) PlanView {
	view := PlanView{
		ID: plan.ID, Operation: plan.Operation, Target: plan.Target, RecoveryPoint: plan.RecoveryPoint, ClusterUID: plan.ClusterUID,
		Server: plan.Server, Context: plan.Context, CreatedBy: plan.CreatedBy, CreationTime: plan.CreationTime, State: PlanElsewhere,
		Steps: []StepStatus{},
	}
	for _, step := range plan.Steps {
		view.Steps = append(view.Steps, stepRecord{}.status(step))
	}
	return view
}

// Next says what to type to bring the plan to its end; empty when it is there.
func (v PlanView) Next() string {
	switch {
	case v.State == PlanElsewhere:
		return "drctl resume " + v.ID + " --takeover, when " + v.CreatedBy + " cannot go on"
	case v.State == PlanAborting:
		return "drctl abort " + v.ID
	case v.Unfinished() && v.Abortable:
		return "drctl resume " + v.ID + ", or drctl abort " + v.ID
	case v.Unfinished():
		return "drctl resume " + v.ID
	}
	return ""
}
