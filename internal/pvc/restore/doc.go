// Package restore is the use case behind `drctl pvc restore` and `drctl pvc backup`: it plans, runs and
// proves restores of claims from VolSync's Kopia repository, one or many at once.
//
// The order is what makes it safe: the chosen snapshot is restored beside the volume in use, and proven by
// the mover's own words, before anything of the claim is touched.
//
// It must import neither adapters nor cli; what it needs of the world stands in ports.go.
package restore
