// Package flip is `drctl cnpg recover`: it replaces a CloudNativePG database by what a backup and its
// WAL give, or recovers it beside the live one, as one plan of small steps that can be killed and
// resumed anywhere. It chooses and checks first, reading only; it proves afterwards; unknown is never
// success.
//
// It imports recovery and operation only. Kubernetes, S3, Git and Argo CD are behind the interfaces
// that it declares; no cobra and no ui.
package flip
