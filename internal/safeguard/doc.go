// Package safeguard names the safeguards that recoveries and restores rest on, as constants that are true.
//
// A crash matrix that reports "lost=0" says something only if it can report more. So a test build may
// switch one safeguard off by a build tag and must then see data lost:
//
//	drctl_off_fence      nobody holds the creation of the object back while it is being replaced
//	drctl_off_uid        a delete does not say which object it means
//	drctl_off_volumes    the new Cluster is created while volumes of the old one may still be there
//	drctl_off_writeahead the journal's entry follows the effect instead of preceding it
//	drctl_off_retain     the old volume of a claim keeps its reclaim policy
//	drctl_off_proof      a mover that says "successful" is believed
//	drctl_off_secrets    a Secret that holds other values is overwritten
//	drctl_off_uninstall  a release is removed although there are Applications
//
// No release is built with any of these tags, and there is no flag, variable or file that does the same.
//
// It imports nothing.
package safeguard
