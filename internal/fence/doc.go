// Package fence holds back the creation of one object, or of every Pod that mounts a claim, whoever asks,
// until a plan is done: a ValidatingAdmissionPolicy and its binding that deny it without the plan's mark.
// Deleting and creating again is safe only behind it: else a GitOps controller creates its own version in
// between, or a Pod holds the old volume.
//
// The fence is for CREATE only. On UPDATE a CEL error would deny every update of the object, and DELETE
// must stay free for namespaces and garbage collection. It expires by itself.
//
// It talks to the cluster through package kube and imports nothing else of drctl but recovery.
package fence
