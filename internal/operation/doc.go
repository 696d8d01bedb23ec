// Package operation runs a plan of steps so that it can be killed anywhere and gone on with by another
// process or another person. It knows nothing of clusters, Git or databases: a use case gives the plan
// as plain data and a Handler for each kind of step.
//
// Each step is observed first, journaled before it acts, and observed until it is proven. A plan is done
// when its journal says so; a plan whose first effect may have happened is either resumed or aborted.
//
// It imports recovery, safeguard, the standard library and a file lock; never a use case or an adapter.
package operation
